// The peer of `nowcxr bench window` and `bench series` in Apache Flink, in a local mini-cluster:
//
//     nowcxr.peer.Streams window|series FILE [PARALLELISM] [rocksdb DIRECTORY]
//
// Prints one JSON object with the fields that `nowcxr bench` prints; cpu_s is the whole process's,
// start-up and compilation included. What was chosen so that Flink shows what it can:
//
// - Objects are reused, rows are parsed into one event, and serialisers are written by hand.
// - At parallelism 1 the source's stream already is keyed, so nothing is serialised or shuffled:
//   all operators are one chain. Above, events go to the task of their stay by key.
// - Watermarks are sent where an hour closes, not for each event.
// - Hours are Flink's own windows, aggregated in place. A process function by hand with one timer
//   an hour was tried on the heap, three runs: 0.7 s less a run, and the same slope within its
//   spread.
// - The collector is the serial one: in a few runs of each it cost no more processor time than the
//   parallel one and G1, and it holds the least memory. Small integers, the keys, are made once
//   (streams.py says with which flags).
// - On the heap there are no checkpoints, as nowcxr's memory has none. RocksDB takes an incremental
//   one every 2 s, as `--store sled` commits, and keeps its timers on the heap.
package nowcxr.peer;

import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Locale;
import org.apache.flink.api.common.JobExecutionResult;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.java.functions.KeySelector;
import org.apache.flink.configuration.CheckpointingOptions;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.MemorySize;
import org.apache.flink.configuration.PipelineOptions;
import org.apache.flink.configuration.StateBackendOptions;
import org.apache.flink.configuration.TaskManagerOptions;
import org.apache.flink.connector.file.src.FileSource;
import org.apache.flink.state.rocksdb.EmbeddedRocksDBStateBackend;
import org.apache.flink.state.rocksdb.RocksDBOptions;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.datastream.DataStreamUtils;
import org.apache.flink.streaming.api.datastream.KeyedStream;
import org.apache.flink.streaming.api.datastream.SingleOutputStreamOperator;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink;
import org.apache.flink.streaming.api.windowing.assigners.TumblingEventTimeWindows;
import org.apache.flink.util.OutputTag;

public final class Streams {
    private static final String USAGE =
            "nowcxr.peer.Streams window|series FILE [PARALLELISM] [rocksdb DIRECTORY]";

    private static final long CHECKPOINT_MS = 2_000;

    private static final OutputTag<Event> LATE = new OutputTag<>("late", Rows.TYPE);

    private Streams() {}

    public static void main(String[] args) throws Exception {
        boolean stored = args.length == 5 && args[3].equals("rocksdb");
        if (args.length < 2 || args.length > 3 && !stored) {
            throw new IllegalArgumentException(USAGE);
        }
        String bench = args[0];
        int parallelism = args.length > 2 ? Integer.parseInt(args[2]) : 1;
        StreamExecutionEnvironment env = StreamExecutionEnvironment.createLocalEnvironment(
                parallelism, configuration(stored ? args[4] : null));
        KeyedStream<Event, Integer> events = events(env, args[1], parallelism);
        switch (bench) {
            case "window" -> count(window(events));
            case "series" -> count(events.process(
                    stored ? new SinceFilm.Stored() : new SinceFilm.OnHeap()));
            default -> throw new IllegalArgumentException(USAGE);
        }
        long began = System.nanoTime();
        JobExecutionResult result = env.execute(bench);
        double wall = (System.nanoTime() - began) / 1e9;
        String store = stored ? "rocksdb" : "memory";
        System.out.println(json(bench, store, parallelism, result, wall));
    }

    private static Configuration configuration(String directory) {
        Configuration conf = new Configuration();
        conf.set(PipelineOptions.OBJECT_REUSE, true);
        conf.set(PipelineOptions.AUTO_WATERMARK_INTERVAL, Duration.ZERO);
        if (directory == null) {
            conf.set(StateBackendOptions.STATE_BACKEND, "hashmap");
            return conf;
        }
        conf.set(StateBackendOptions.STATE_BACKEND, "rocksdb");
        conf.set(TaskManagerOptions.MANAGED_MEMORY_SIZE, MemorySize.ofMebiBytes(256));
        conf.set(RocksDBOptions.LOCAL_DIRECTORIES, directory);
        conf.set(RocksDBOptions.TIMER_SERVICE_FACTORY,
                EmbeddedRocksDBStateBackend.PriorityQueueStateType.HEAP);
        conf.set(CheckpointingOptions.CHECKPOINTING_INTERVAL, Duration.ofMillis(CHECKPOINT_MS));
        conf.set(CheckpointingOptions.INCREMENTAL_CHECKPOINTS, true);
        conf.set(CheckpointingOptions.CHECKPOINTS_DIRECTORY,
                Path.of(directory).resolve("checkpoints").toUri().toString());
        return conf;
    }

    private static KeyedStream<Event, Integer> events(
            StreamExecutionEnvironment env, String file, int parallelism) {
        FileSource<Event> source = FileSource.forBulkFileFormat(
                new Rows(), new org.apache.flink.core.fs.Path(Path.of(file).toUri())).build();
        WatermarkStrategy<Event> marks = WatermarkStrategy
                .<Event>forGenerator(context -> new HourMarks())
                .withTimestampAssigner((event, before) -> event.at);
        DataStream<Event> rows = env.fromSource(source, marks, "rows").setParallelism(1);
        KeySelector<Event, Integer> stay = event -> event.stay;
        return parallelism == 1
                ? DataStreamUtils.reinterpretAsKeyedStream(rows, stay)
                : rows.keyBy(stay);
    }

    /** Flink's own windows, aggregated event by event. */
    private static SingleOutputStreamOperator<Emission> window(
            KeyedStream<Event, Integer> events) {
        SingleOutputStreamOperator<Emission> hours = events
                .window(TumblingEventTimeWindows.of(Duration.ofMillis(Event.HOUR_MS)))
                .sideOutputLateData(LATE)
                .aggregate(new Last.Aggregate(), Last.TYPE,
                        TypeInformation.of(Emission.class));
        hours.getSideOutput(LATE).process(new Sum.Late()).sinkTo(new DiscardingSink<>());
        return hours;
    }

    private static void count(SingleOutputStreamOperator<Emission> hours) {
        hours.process(new Sum()).sinkTo(new DiscardingSink<>());
    }

    private static String json(
            String bench, String store, int parallelism, JobExecutionResult result, double wall)
            throws IOException {
        long late = result.<Long>getAccumulatorResult("late");
        long accepted = result.<Long>getAccumulatorResult("accepted");
        long rows = late + accepted;
        String reads = bench.equals("series")
                ? "\"reads\":" + result.getAccumulatorResult("reads") + "," : "";
        var system = (com.sun.management.OperatingSystemMXBean)
                ManagementFactory.getOperatingSystemMXBean();
        double cpu = system.getProcessCpuTime() / 1e9;
        return String.format(Locale.ROOT,
                "{\"peer\":\"flink\",\"bench\":\"%s\",\"store\":\"%s\",\"workers\":%d,"
                        + "\"rows\":%d,\"late\":%d,\"outputs\":%d,\"accepted\":%d,"
                        + "\"sum_milli\":%d,%s\"cpu_s\":%.3f,\"wall_s\":%.3f,"
                        + "\"us_per_event\":%.4f,\"peak_rss_bytes\":%d}",
                bench, store, parallelism, rows, late,
                result.<Long>getAccumulatorResult("outputs"), accepted,
                result.<Long>getAccumulatorResult("sum_milli"), reads, cpu, wall,
                cpu * 1e6 / rows, peakRssBytes());
    }

    private static long peakRssBytes() throws IOException {
        for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
            if (line.startsWith("VmHWM:")) {
                return 1024 * Long.parseLong(line.replaceAll("[^0-9]", ""));
            }
        }
        throw new IOException("/proc/self/status has no VmHWM");
    }
}
