import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.Future;
import java.util.stream.Collectors;

import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.record.TimestampType;

/** `Producers SCENARIO BOOTSTRAP TOPIC`: the producer as it is by default (idempotent, acks=all), and a consumer reading back. */
public final class Producers {

    private final String bootstrap;
    private final String topic;

    private Producers(String bootstrap, String topic) {
        this.bootstrap = bootstrap;
        this.topic = topic;
    }

    public static void main(String[] args) throws Exception {
        Producers scenarios = new Producers(args[1], args[2]);
        switch (args[0]) {
            case "codecs" -> scenarios.codecs();
            case "contents" -> scenarios.contents();
            case "large" -> scenarios.large();
            case "times" -> scenarios.times();
            default -> throw new IllegalArgumentException(args[0]);
        }
    }

    /** Every codec: order per partition, offsets as acknowledged, nothing twice. */
    private void codecs() throws Exception {
        Map<TopicPartition, List<String>> sent = new HashMap<>();
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            try (var producer = producer(Map.of("compression.type", codec, "linger.ms", "5"))) {
                List<Future<RecordMetadata>> answers = new ArrayList<>();
                for (int i = 0; i < 1000; i++)
                    answers.add(producer.send(record("k" + i % 13, codec + "-" + i + "-" + "x".repeat(50))));
                producer.flush();
                for (int i = 0; i < answers.size(); i++) {
                    RecordMetadata at = answers.get(i).get();
                    List<String> inPartition = sent.computeIfAbsent(new TopicPartition(topic, at.partition()), p -> new ArrayList<>());
                    Check.same((long) inPartition.size(), at.offset(), "offset of record " + i + " with " + codec);
                    inPartition.add(codec + "-" + i + "-" + "x".repeat(50));
                }
            }
        }
        Map<TopicPartition, List<String>> seen = new HashMap<>();
        for (var record : readAll())
            seen.computeIfAbsent(new TopicPartition(topic, record.partition()), p -> new ArrayList<>()).add(text(record.value()));
        Check.same(sent, seen, "what came out");
    }

    /** Null keys and values, empty ones, headers in order with duplicates and nulls. */
    private void contents() throws Exception {
        try (var producer = producer(Map.of())) {
            ProducerRecord<byte[], byte[]> rich = record("k", "v");
            rich.headers().add("a", bytes("1")).add("b", null).add("a", bytes("2")).add("c", new byte[0]);
            producer.send(rich);
            producer.send(new ProducerRecord<>(topic, 0, null, bytes("no key")));
            producer.send(new ProducerRecord<>(topic, 0, bytes("no value"), null));
            producer.send(new ProducerRecord<>(topic, 0, new byte[0], new byte[0]));
            producer.flush();
        }
        List<ConsumerRecord<byte[], byte[]>> seen = readAll();
        Check.same(4, seen.size(), "records");
        List<String> headers = new ArrayList<>();
        for (Header header : seen.get(0).headers())
            headers.add(header.key() + "=" + (header.value() == null ? "null" : text(header.value())));
        Check.same(List.of("a=1", "b=null", "a=2", "c="), headers, "headers");
        Check.that(seen.get(1).key() == null && seen.get(2).value() == null, "nulls stay null");
        Check.that(seen.get(3).key().length == 0 && seen.get(3).value().length == 0, "empty stays empty");
    }

    /** One megabyte passes; more than the topic allows does not, and the producer lives on. */
    private void large() throws Exception {
        try (var producer = producer(Map.of("max.request.size", "3000000"))) {
            producer.send(new ProducerRecord<>(topic, 0, null, new byte[1_000_000])).get();
            Check.fails(RecordTooLargeException.class, () -> producer.send(new ProducerRecord<>(topic, 0, null, new byte[2_000_000])).get());
            producer.send(record("k", "after")).get();
        }
        Check.same(List.of(1_000_000, 5), readAll().stream().map(r -> r.value().length).collect(Collectors.toList()), "sizes");
    }

    /** Timestamps come back, and can be searched for. */
    private void times() throws Exception {
        long start = 1_650_000_000_000L;
        try (var producer = producer(Map.of("linger.ms", "200"))) {
            for (int i = 0; i < 10; i++)
                producer.send(new ProducerRecord<>(topic, 0, start + i * 10, bytes("k"), bytes("" + i)));
        }
        for (var record : readAll()) {
            Check.same(TimestampType.CREATE_TIME, record.timestampType(), "type");
            Check.same(start + record.offset() * 10, record.timestamp(), "time");
        }
        TopicPartition place = new TopicPartition(topic, 0);
        try (var consumer = consumer(Map.of())) {
            Check.same(5L, consumer.offsetsForTimes(Map.of(place, start + 41)).get(place).offset(), "offset for a time");
            Check.same(null, consumer.offsetsForTimes(Map.of(place, start + 91)).get(place), "offset for a time to come");
            Check.same(10L, consumer.endOffsets(List.of(place)).get(place), "end");
            Check.same(0L, consumer.beginningOffsets(List.of(place)).get(place), "beginning");
        }
    }

    private List<ConsumerRecord<byte[], byte[]>> readAll() {
        List<ConsumerRecord<byte[], byte[]>> seen = new ArrayList<>();
        try (var consumer = consumer(Map.of())) {
            List<TopicPartition> places = consumer.partitionsFor(topic).stream().map(p -> new TopicPartition(topic, p.partition())).toList();
            consumer.assign(places);
            consumer.seekToBeginning(places);
            long total = consumer.endOffsets(places).values().stream().mapToLong(Long::longValue).sum();
            Check.until(total + " records", () -> consumer.poll(Duration.ofMillis(100)).forEach(seen::add), () -> seen.size() >= total);
        }
        return seen;
    }

    private KafkaProducer<byte[], byte[]> producer(Map<String, String> config) {
        return new KafkaProducer<>(properties("serializer", "Serializer", config));
    }

    private KafkaConsumer<byte[], byte[]> consumer(Map<String, String> config) {
        return new KafkaConsumer<>(properties("deserializer", "Deserializer", config));
    }

    private Properties properties(String role, String kind, Map<String, String> config) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", bootstrap);
        properties.put("key." + role, "org.apache.kafka.common.serialization.ByteArray" + kind);
        properties.put("value." + role, "org.apache.kafka.common.serialization.ByteArray" + kind);
        properties.putAll(config);
        return properties;
    }

    private ProducerRecord<byte[], byte[]> record(String key, String value) {
        return new ProducerRecord<>(topic, bytes(key), bytes(value));
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static String text(byte[] bytes) {
        return new String(bytes, StandardCharsets.UTF_8);
    }
}
