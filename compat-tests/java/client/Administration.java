import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.ExecutionException;

import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.CreateTopicsOptions;
import org.apache.kafka.clients.admin.DescribeConfigsOptions;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.common.TopicCollection;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.config.TopicConfig;
import org.apache.kafka.common.errors.InvalidConfigurationException;
import org.apache.kafka.common.errors.InvalidPartitionsException;
import org.apache.kafka.common.errors.InvalidReplicationFactorException;
import org.apache.kafka.common.errors.InvalidTopicException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownTopicIdException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;

/** `Administration SCENARIO BOOTSTRAP TOPIC CLUSTER_ID`: the Java admin client. The topic does not exist yet. */
public final class Administration {

    private final Admin admin;
    private final String topic;
    private final String clusterId;

    private Administration(Admin admin, String topic, String clusterId) {
        this.admin = admin;
        this.topic = topic;
        this.clusterId = clusterId;
    }

    public static void main(String[] args) throws Exception {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", args[1]);
        try (Admin admin = Admin.create(properties)) {
            Administration scenarios = new Administration(admin, args[2], args[3]);
            switch (args[0]) {
                case "topics" -> scenarios.topics();
                case "refusals" -> scenarios.refusals();
                case "configs" -> scenarios.configs();
                case "offsets" -> scenarios.offsets();
                case "cluster" -> scenarios.cluster();
                default -> throw new IllegalArgumentException(args[0]);
            }
        }
    }

    /** Created, described by name and id, grown, deleted by id. */
    private void topics() throws Exception {
        var created = admin.createTopics(List.of(new NewTopic(topic, Optional.of(2), Optional.empty())));
        Uuid id = created.topicId(topic).get();
        Check.same(2, created.numPartitions(topic).get(), "partitions in the answer");
        Check.same(1, created.replicationFactor(topic).get(), "replication factor in the answer");
        Check.that(created.config(topic).get().entries().size() > 25, "configs in the answer");

        awaitPartitions(2);
        TopicDescription seen = admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic);
        Check.same(id, seen.topicId(), "topic id");
        Check.that(!seen.isInternal(), "internal");
        for (var partition : seen.partitions()) {
            Check.same(1, partition.leader().id(), "leader");
            Check.same(1, partition.replicas().size(), "replicas");
            Check.same(1, partition.isr().size(), "in-sync replicas");
            Check.same(List.of(), partition.elr(), "eligible leader replicas");
        }
        var byId = admin.describeTopics(TopicCollection.ofTopicIds(List.of(id))).allTopicIds().get();
        Check.same(topic, byId.get(id).name(), "name by id");
        Check.that(admin.listTopics().names().get().contains(topic), "listed");

        admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(5))).all().get();
        awaitPartitions(5);
        admin.deleteTopics(TopicCollection.ofTopicIds(List.of(id))).all().get();
        Check.until("the topic to be gone", () -> { }, () -> {
            try {
                return !admin.listTopics().names().get().contains(topic);
            } catch (InterruptedException | ExecutionException e) {
                throw new AssertionError(e);
            }
        });
    }

    private void refusals() throws Exception {
        admin.createTopics(List.of(new NewTopic(topic, 3, (short) 1))).all().get();
        awaitPartitions(3);
        Check.fails(TopicExistsException.class, () -> admin.createTopics(List.of(new NewTopic(topic, 1, (short) 1))).all().get());
        Check.fails(TopicExistsException.class, () -> admin.createTopics(List.of(new NewTopic(topic, 1, (short) 1)), new CreateTopicsOptions().validateOnly(true)).all().get());
        Check.fails(InvalidTopicException.class, () -> admin.createTopics(List.of(new NewTopic("a/b", 1, (short) 1))).all().get());
        Check.fails(InvalidReplicationFactorException.class, () -> admin.createTopics(List.of(new NewTopic(topic + "x", 1, (short) 2))).all().get());
        Check.fails(InvalidPartitionsException.class, () -> admin.createTopics(List.of(new NewTopic(topic + "x", 0, (short) 1))).all().get());
        Check.fails(InvalidPartitionsException.class, () -> admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(3))).all().get());
        Check.fails(UnknownTopicOrPartitionException.class, () -> admin.createPartitions(Map.of(topic + "x", NewPartitions.increaseTo(3))).all().get());
        Check.fails(UnknownTopicOrPartitionException.class, () -> admin.deleteTopics(List.of(topic + "x")).all().get());
        Check.fails(UnknownTopicOrPartitionException.class, () -> admin.describeTopics(List.of(topic + "x")).allTopicNames().get());
        Check.fails(UnknownTopicIdException.class, () -> admin.deleteTopics(TopicCollection.ofTopicIds(List.of(Uuid.randomUuid()))).all().get());
        Check.fails(UnknownTopicIdException.class, () -> admin.describeTopics(TopicCollection.ofTopicIds(List.of(Uuid.randomUuid()))).allTopicIds().get());
        Check.fails(InvalidConfigurationException.class, () -> alter(topic, new AlterConfigOp(new ConfigEntry("retention.ms", "soon"), AlterConfigOp.OpType.SET)));
        Check.fails(InvalidConfigurationException.class, () -> alter(topic, new AlterConfigOp(new ConfigEntry("no.such", "1"), AlterConfigOp.OpType.SET)));
    }

    private void configs() throws Exception {
        admin.createTopics(List.of(new NewTopic(topic, 1, (short) 1).configs(Map.of("cleanup.policy", "delete", "retention.ms", "604800000")))).all().get();
        awaitPartitions(1);
        Config before = describe();
        Check.same(ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG, before.get("retention.ms").source(), "a default's value set by hand");
        Check.same(ConfigEntry.ConfigSource.DEFAULT_CONFIG, before.get("max.message.bytes").source(), "an untouched value");
        Check.same("1048588", before.get("max.message.bytes").value(), "an untouched value");
        Check.same(ConfigEntry.ConfigType.INT, before.get("max.message.bytes").type(), "type");
        Check.that(before.get("retention.ms").documentation() != null, "documentation");
        Check.same("retention.ms", before.get("retention.ms").synonyms().get(0).name(), "first synonym");
        Check.same("message.max.bytes", before.get("max.message.bytes").synonyms().get(0).name(), "the broker's synonym");

        alter(topic,
            new AlterConfigOp(new ConfigEntry(TopicConfig.SEGMENT_BYTES_CONFIG, "2097152"), AlterConfigOp.OpType.SET),
            new AlterConfigOp(new ConfigEntry(TopicConfig.RETENTION_MS_CONFIG, ""), AlterConfigOp.OpType.DELETE),
            new AlterConfigOp(new ConfigEntry(TopicConfig.CLEANUP_POLICY_CONFIG, "compact"), AlterConfigOp.OpType.APPEND));
        Check.until("the change", () -> { }, () -> describe().get("segment.bytes").value().equals("2097152"));
        Config after = describe();
        Check.same(ConfigEntry.ConfigSource.DEFAULT_CONFIG, after.get("retention.ms").source(), "a deleted value");
        Check.same(Set.of("compact", "delete"), Set.of(after.get("cleanup.policy").value().split(",")), "an appended value");
    }

    private void offsets() throws Exception {
        admin.createTopics(List.of(new NewTopic(topic, 1, (short) 1))).all().get();
        awaitPartitions(1);
        TopicPartition place = new TopicPartition(topic, 0);
        Map<OffsetSpec, Long> expected = Map.of(OffsetSpec.earliest(), 0L, OffsetSpec.latest(), 0L, OffsetSpec.maxTimestamp(), -1L,
            OffsetSpec.forTimestamp(1), -1L, OffsetSpec.earliestLocal(), 0L, OffsetSpec.latestTiered(), -1L);
        for (var entry : expected.entrySet())
            Check.same(entry.getValue(), admin.listOffsets(Map.of(place, entry.getKey())).partitionResult(place).get().offset(), entry.getKey().getClass().getSimpleName());
    }

    private void cluster() throws Exception {
        var seen = admin.describeCluster();
        Check.same(clusterId, seen.clusterId().get(), "cluster id");
        Check.same(1, seen.controller().get().id(), "controller");
        Check.same(1, seen.nodes().get().size(), "nodes");
        var features = admin.describeFeatures().featureMetadata().get();
        Check.that(features.finalizedFeatures().get("metadata.version").maxVersionLevel() >= 25, "metadata.version");
        Check.that(features.finalizedFeaturesEpoch().orElse(-1L) >= 0, "epoch of the features");
        ConfigResource broker = new ConfigResource(ConfigResource.Type.BROKER, "1");
        Config config = admin.describeConfigs(List.of(broker)).all().get().get(broker);
        Check.same("1", config.get("node.id").value(), "node.id");
        Check.that(config.get("node.id").isReadOnly(), "node.id is read-only");
    }

    private Config describe() {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        try {
            var options = new DescribeConfigsOptions().includeSynonyms(true).includeDocumentation(true);
            return admin.describeConfigs(List.of(resource), options).all().get().get(resource);
        } catch (InterruptedException | ExecutionException e) {
            throw new AssertionError(e);
        }
    }

    private Void alter(String name, AlterConfigOp... operations) throws Exception {
        Map<ConfigResource, Collection<AlterConfigOp>> change = Map.of(new ConfigResource(ConfigResource.Type.TOPIC, name), List.of(operations));
        return admin.incrementalAlterConfigs(change).all().get();
    }

    private void awaitPartitions(int count) {
        Check.until(count + " partitions with leaders", () -> { }, () -> {
            try {
                TopicDescription seen = admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic);
                return seen.partitions().size() == count && seen.partitions().stream().allMatch(p -> p.leader() != null);
            } catch (ExecutionException e) {
                return false;
            } catch (InterruptedException e) {
                throw new AssertionError(e);
            }
        });
    }
}
