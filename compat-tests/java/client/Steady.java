import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Queue;
import java.util.concurrent.Callable;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicLongArray;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ListConsumerGroupOffsetsOptions;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * `Steady BOOTSTRAP TOPIC PARTITIONS`: a steady load, with clients as they are by default, for as long as standard input is
 * open; two groups read it, `auto` as consumers commit by themselves, `hand` with a commit after every poll. Nobody else
 * writes to the topic, so record n of a partition has the offset n, and the log ends where the acknowledgements do. A line
 * of input is answered with a line of what went on, `name=value,value,...`: `gaps` are the longest waits for an
 * acknowledgement since the line before, `pauses` the readers' for records; in ms, of each partition.
 */
public final class Steady {

    private static final int EVERY_MS = 10;
    private static final int FAULTS = 30;

    private final Map<String, Object> common;
    private final String topic;
    private final int partitions;
    private final AtomicLongArray acknowledged;
    private final Waits gaps;
    private final AtomicLongArray highest;
    private final AtomicLong late = new AtomicLong();
    private final AtomicLong failed = new AtomicLong();
    private final AtomicLong nowhere = new AtomicLong();
    private final Queue<String> faults = new ConcurrentLinkedQueue<>();
    private final List<Reader> readers;
    private volatile boolean ends;
    private volatile boolean sent;

    private Steady(String bootstrap, String topic, int partitions) {
        this.common = Map.of("bootstrap.servers", bootstrap);
        this.topic = topic;
        this.partitions = partitions;
        acknowledged = new AtomicLongArray(partitions);
        highest = new AtomicLongArray(partitions);
        gaps = new Waits(partitions);
        readers = List.of(new Reader("auto"), new Reader("hand"));
    }

    public static void main(String[] args) throws Exception {
        new Steady(args[0], args[1], Integer.parseInt(args[2])).run();
    }

    /** For each partition the longest time between two events. */
    private static final class Waits {
        private final long[] last;
        private final long[] longest;

        Waits(int partitions) {
            last = new long[partitions];
            longest = new long[partitions];
        }

        synchronized void event(int partition) {
            reach(partition);
            last[partition] = System.nanoTime();
        }

        private void reach(int partition) {
            if (last[partition] != 0)
                longest[partition] = Math.max(longest[partition], System.nanoTime() - last[partition]);
        }

        /** In ms; what is waited for now counts. The next ones are counted anew. */
        synchronized String taken() {
            IntStream.range(0, last.length).forEach(this::reach);
            String text = Arrays.stream(longest).mapToObj(nanos -> "" + nanos / 1_000_000).collect(Collectors.joining(","));
            Arrays.fill(longest, 0);
            return text;
        }
    }

    private void run() throws Exception {
        List<Thread> threads = new ArrayList<>();
        threads.add(started(this::send));
        for (Reader reader : readers) {
            threads.add(started(reader::read));
            threads.add(started(reader::watch));
        }
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        while (lines.readLine() != null) {
            System.out.println(said());
            System.out.flush();
        }
        ends = true;
        for (Thread thread : threads)
            thread.join();
        if (faults.isEmpty())
            compare();
        System.out.println(said());
        faults.forEach(System.err::println);
        System.exit(faults.isEmpty() ? 0 : 1);
    }

    private String said() {
        return "acknowledged=" + list(acknowledged) + " failed=" + failed + " nowhere=" + nowhere + " late=" + late + " gaps=" + gaps.taken()
            + readers.stream().map(Reader::said).collect(Collectors.joining());
    }

    private static String list(AtomicLongArray numbers) {
        return numbers.toString().replaceAll("[\\[\\] ]", "");
    }

    private void fault(String what) {
        if (faults.size() < FAULTS)
            faults.add(what);
    }

    private Thread started(Callable<Void> work) {
        Thread thread = new Thread(() -> {
            try {
                work.call();
            } catch (Exception e) {
                e.printStackTrace();
                fault("" + e);
            }
        });
        thread.start();
        return thread;
    }

    private Void send() throws Exception {
        try (var producer = new KafkaProducer<>(common, new StringSerializer(), new StringSerializer())) {
            for (long number = 0; !ends; number++) {
                for (int partition = 0; partition < partitions; partition++)
                    send(producer, partition, number);
                Thread.sleep(EVERY_MS);
            }
        } finally {
            sent = true;
        }
        return null;
    }

    private void send(KafkaProducer<String, String> producer, int partition, long number) {
        producer.send(new ProducerRecord<>(topic, partition, null, "" + number), (at, error) -> {
            String record = "record " + number + " of partition " + partition;
            if (error != null) {
                failed.incrementAndGet();
                fault(record + " failed: " + error);
                return;
            }
            gaps.event(partition);
            acknowledged.getAndIncrement(partition);
            // A batch can be refused by the next leader, which has it already, while the one behind it is taken.
            if (highest.accumulateAndGet(partition, number, Math::max) > number)
                late.incrementAndGet();
            // A duplicate that the broker no longer knows the place of is acknowledged without one.
            if (!at.hasOffset())
                nowhere.incrementAndGet();
            else if (at.offset() != number)
                fault(record + " is acknowledged at " + at.offset());
        });
    }

    /** A group with one member. */
    private final class Reader {
        final String group;
        private final AtomicLongArray next = new AtomicLongArray(partitions);
        private final AtomicLongArray committed = new AtomicLongArray(partitions);
        private final Waits pauses = new Waits(partitions);
        private final AtomicLong again = new AtomicLong();
        private final AtomicLong looks = new AtomicLong();
        private volatile boolean done;

        Reader(String group) {
            this.group = group;
        }

        String said() {
            return Map.of("read", list(next), "again", again, "pauses", pauses.taken(), "committed", list(committed), "looks", looks)
                .entrySet().stream().map(field -> " " + group + "." + field.getKey() + "=" + field.getValue()).collect(Collectors.joining());
        }

        /** Reads until the last acknowledged record. What comes again starts anywhere, and goes on without a hole. */
        Void read() {
            Properties config = new Properties();
            config.putAll(common);
            config.put("group.id", group);
            config.put("auto.offset.reset", "earliest");
            if (group.equals("hand"))
                config.put("enable.auto.commit", "false");
            long[] expected = new long[partitions];
            try (var consumer = new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer())) {
                consumer.subscribe(List.of(topic));
                while (!sent || faults.isEmpty() && IntStream.range(0, partitions).anyMatch(p -> next.get(p) < acknowledged.get(p))) {
                    var records = consumer.poll(Duration.ofMillis(100));
                    records.forEach(record -> seen(record, expected));
                    if (group.equals("hand") && !records.isEmpty())
                        consumer.commitSync();
                }
            } finally {
                done = true;
            }
            return null;
        }

        private void seen(ConsumerRecord<String, String> record, long[] expected) {
            int partition = record.partition();
            String place = "offset " + record.offset() + " of partition " + partition;
            if (!record.value().equals("" + record.offset()))
                fault(group + ": record " + record.value() + " is read at " + place);
            if (record.offset() > expected[partition])
                fault(group + ": " + place + " is read where " + expected[partition] + " was next");
            if (record.offset() < next.get(partition))
                again.incrementAndGet();
            expected[partition] = record.offset() + 1;
            next.accumulateAndGet(partition, expected[partition], Math::max);
            pauses.event(partition);
        }

        /** Asks for the committed offsets all the time, and once more when all is read. */
        Void watch() throws Exception {
            try (var admin = Admin.create(common)) {
                for (boolean last = false; !last;) {
                    last = done;
                    var told = offsets(admin);
                    for (int partition = 0; partition < partitions; partition++)
                        committed(partition, told.get(new TopicPartition(topic, partition)));
                    looks.incrementAndGet();
                    Thread.sleep(50);
                }
            }
            return null;
        }

        private void committed(int partition, OffsetAndMetadata offset) {
            long now = offset == null ? 0 : offset.offset();
            long before = committed.getAndSet(partition, now);
            if (now < before)
                fault(group + ": the committed offset of partition " + partition + " went from " + before + " to " + offset);
        }

        /** As consumers ask for them: without `requireStable` Kafka answers by its high watermark, which a new leader's may lag behind. */
        Map<TopicPartition, OffsetAndMetadata> offsets(Admin admin) throws Exception {
            var stable = new ListConsumerGroupOffsetsOptions().requireStable(true);
            return admin.listConsumerGroupOffsets(group, stable).partitionsToOffsetAndMetadata().get();
        }
    }

    /** All is over: the log holds what was acknowledged, and so much is committed. */
    private void compare() throws Exception {
        try (var admin = Admin.create(common)) {
            for (int partition = 0; partition < partitions; partition++) {
                TopicPartition place = new TopicPartition(topic, partition);
                long count = acknowledged.get(partition);
                Check.same(count, admin.listOffsets(Map.of(place, OffsetSpec.latest())).partitionResult(place).get().offset(), "end of " + place);
                for (Reader reader : readers)
                    Check.same(count, reader.offsets(admin).get(place).offset(), reader.group + ": committed of " + place);
            }
        }
    }
}
