import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentSkipListSet;

import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** `Groups SCENARIO BOOTSTRAP TOPIC GROUP`: consumer groups of the classic protocol. The topic has 6 partitions. */
public final class Groups {

    private static final int PARTITIONS = 6;

    private final String bootstrap;
    private final String topic;
    private final String group;

    private Groups(String bootstrap, String topic, String group) {
        this.bootstrap = bootstrap;
        this.topic = topic;
        this.group = group;
    }

    public static void main(String[] args) throws Exception {
        Groups scenarios = new Groups(args[1], args[2], args[3]);
        switch (args[0]) {
            case "RangeAssignor", "RoundRobinAssignor", "CooperativeStickyAssignor" -> scenarios.balance(args[0]);
            case "commits" -> scenarios.commits();
            case "static" -> scenarios.staticMembers();
            default -> throw new IllegalArgumentException(args[0]);
        }
    }

    /** A member with a thread of its own. */
    private final class Member extends Thread implements ConsumerRebalanceListener {
        final Set<Integer> assigned = new ConcurrentSkipListSet<>();
        final Set<String> values = new ConcurrentSkipListSet<>();
        private final Map<String, String> config;
        private volatile boolean ends;
        volatile int assignments;
        volatile Throwable failure;

        Member(Map<String, String> config) {
            this.config = config;
            start();
        }

        @Override
        public void run() {
            try (var consumer = consumer(config)) {
                consumer.subscribe(List.of(topic), this);
                while (!ends) {
                    for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(100)))
                        values.add(record.value());
                }
            } catch (Throwable e) {
                failure = e;
            }
        }

        void leave() throws InterruptedException {
            ends = true;
            join();
        }

        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
            partitions.forEach(p -> assigned.add(p.partition()));
            assignments++;
        }

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
            partitions.forEach(p -> assigned.remove(p.partition()));
        }
    }

    /** Three members join, all is consumed, one leaves. */
    private void balance(String assignor) throws Exception {
        Map<String, String> config = Map.of("partition.assignment.strategy", "org.apache.kafka.clients.consumer." + assignor);
        List<Member> members = new ArrayList<>();
        try {
            for (int i = 0; i < 3; i++)
                members.add(new Member(config));
            awaitBalance(members);
            Set<String> sent = new TreeSet<>();
            try (var producer = producer()) {
                for (int i = 0; i < 60; i++) {
                    sent.add(assignor + i);
                    producer.send(new ProducerRecord<>(topic, i % PARTITIONS, null, assignor + i));
                }
            }
            Check.until("all records", Groups::pause, () -> union(members).equals(sent));
            members.remove(2).leave();
            awaitBalance(members);
        } finally {
            for (Member member : members)
                member.leave();
        }
        for (Member member : members)
            Check.same(null, member.failure, "failure of a member");
    }

    /** Commits, resumes, and reads the committed offsets back. */
    private void commits() throws Exception {
        try (var producer = producer()) {
            for (int i = 0; i < 100; i++)
                producer.send(new ProducerRecord<>(topic, 0, null, "" + i));
        }
        TopicPartition first = new TopicPartition(topic, 0);
        TopicPartition second = new TopicPartition(topic, 1);
        try (var consumer = consumer(Map.of("max.poll.records", "30"))) {
            consumer.subscribe(List.of(topic));
            List<String> seen = new ArrayList<>();
            Check.until("a poll with records", () -> consumer.poll(Duration.ofMillis(100)).forEach(r -> seen.add(r.value())), () -> !seen.isEmpty());
            Check.same(30, seen.size(), "records of the first poll");
            consumer.commitSync();
            consumer.commitSync(Map.of(second, new OffsetAndMetadata(17, java.util.Optional.of(0), "seventeen")));
        }
        try (var consumer = consumer(Map.of())) {
            Map<TopicPartition, OffsetAndMetadata> committed = consumer.committed(Set.of(first, second, new TopicPartition(topic, 5)));
            Check.same(30L, committed.get(first).offset(), "committed");
            Check.same(new OffsetAndMetadata(17, java.util.Optional.of(0), "seventeen"), committed.get(second), "committed by hand");
            consumer.subscribe(List.of(topic));
            List<String> seen = new ArrayList<>();
            Check.until("the rest", () -> consumer.poll(Duration.ofMillis(100)).forEach(r -> seen.add(r.value())), () -> seen.size() >= 70);
            Check.same("30", seen.get(0), "where it resumed");
            Check.same(70, seen.size(), "what was left");
        }
    }

    /** A static member that comes back gets its old share, and nobody else notices. */
    private void staticMembers() throws Exception {
        Map<String, String> config = Map.of("partition.assignment.strategy", "org.apache.kafka.clients.consumer.RangeAssignor", "session.timeout.ms", "45000");
        List<Member> members = new ArrayList<>();
        for (int i = 0; i < 2; i++) {
            Map<String, String> named = new HashMap<>(config);
            named.put("group.instance.id", "static-" + i);
            members.add(new Member(named));
        }
        awaitBalance(members);
        Set<Integer> share = new TreeSet<>(members.get(1).assigned);
        int before = members.get(0).assignments;
        Member gone = members.remove(1);
        gone.leave();
        Member back = new Member(gone.config);
        members.add(back);
        Check.until("the old share", Groups::pause, () -> back.assigned.equals(share));
        Check.same(before, members.get(0).assignments, "assignments of the other member");
        for (Member member : members)
            member.leave();
    }

    private static void awaitBalance(List<Member> members) {
        Check.until(members.size() + " members to share " + PARTITIONS + " partitions", Groups::pause, () -> {
            Set<Integer> all = new TreeSet<>();
            int total = 0;
            for (Member member : members) {
                if (member.assigned.size() != PARTITIONS / members.size())
                    return false;
                all.addAll(member.assigned);
                total += member.assigned.size();
            }
            return all.size() == PARTITIONS && total == PARTITIONS;
        });
    }

    private static Set<String> union(List<Member> members) {
        Set<String> all = new TreeSet<>();
        members.forEach(member -> all.addAll(member.values));
        return all;
    }

    private static void pause() {
        try {
            Thread.sleep(20);
        } catch (InterruptedException e) {
            throw new AssertionError(e);
        }
    }

    private KafkaProducer<String, String> producer() {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", bootstrap);
        return new KafkaProducer<>(properties, new StringSerializer(), new StringSerializer());
    }

    private KafkaConsumer<String, String> consumer(Map<String, String> config) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", bootstrap);
        properties.put("group.id", group);
        properties.put("group.protocol", "classic");
        properties.put("auto.offset.reset", "earliest");
        properties.put("enable.auto.commit", "false");
        properties.put("heartbeat.interval.ms", "300");
        properties.putAll(config);
        return new KafkaConsumer<>(properties, new StringDeserializer(), new StringDeserializer());
    }
}
