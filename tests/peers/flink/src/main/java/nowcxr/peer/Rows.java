// The benchmark's file as a source: Flink's own FileSource over blocks of whole rows. The fetcher's
// thread only reads; rows are parsed by the task's thread, into one event that is used again.
package nowcxr.peer;

import java.io.IOException;
import java.util.concurrent.ArrayBlockingQueue;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.file.src.FileSourceSplit;
import org.apache.flink.connector.file.src.reader.BulkFormat;
import org.apache.flink.connector.file.src.util.MutableRecordAndPosition;
import org.apache.flink.connector.file.src.util.RecordAndPosition;
import org.apache.flink.core.fs.FSDataInputStream;
import org.apache.flink.core.fs.Path;

final class Rows implements BulkFormat<Event, FileSourceSplit> {
    static final TypeInformation<Event> TYPE =
            new Binary.Type<>(Event.class, new Event.Serializer());

    private static final int BLOCK_BYTES = 256 * 1024;

    /** Blocks that are read or parsed at one time. */
    private static final int BLOCKS = 3;

    /** More digits do not make an exact double; the benchmark's files have none. */
    private static final int EXACT_DIGITS = 15;

    private static final double[] POWERS_OF_TEN = new double[EXACT_DIGITS + 1];

    static {
        POWERS_OF_TEN[0] = 1;
        for (int i = 1; i <= EXACT_DIGITS; i++) {
            POWERS_OF_TEN[i] = POWERS_OF_TEN[i - 1] * 10;
        }
    }

    @Override
    public Reader createReader(Configuration config, FileSourceSplit split) throws IOException {
        return new Reader(split.path());
    }

    @Override
    public Reader restoreReader(Configuration config, FileSourceSplit split) {
        throw new UnsupportedOperationException("the benchmark's run is not taken up again");
    }

    /** The watermark is one over the whole file, so that one reader has all of it. */
    @Override
    public boolean isSplittable() {
        return false;
    }

    @Override
    public TypeInformation<Event> getProducedType() {
        return TYPE;
    }

    private static final class Reader implements BulkFormat.Reader<Event> {
        private final FSDataInputStream in;
        private final ArrayBlockingQueue<Block> free = new ArrayBlockingQueue<>(BLOCKS);
        /** The beginning of a row whose end is not read yet. */
        private final byte[] rest = new byte[BLOCK_BYTES];
        private int restBytes;
        private long rows;

        Reader(Path path) throws IOException {
            in = path.getFileSystem().open(path);
            for (int i = 0; i < BLOCKS; i++) {
                free.add(new Block(this));
            }
        }

        @Override
        public RecordIterator<Event> readBatch() throws IOException {
            Block block;
            try {
                block = free.take();
            } catch (InterruptedException interrupted) {
                Thread.currentThread().interrupt();
                throw new IOException("stopped while it waited for a block", interrupted);
            }
            System.arraycopy(rest, 0, block.bytes, 0, restBytes);
            int to = restBytes;
            int n = 0;
            while (to < BLOCK_BYTES && (n = in.read(block.bytes, to, BLOCK_BYTES - to)) > 0) {
                to += n;
            }
            if (to == 0) {
                free.add(block);
                return null;
            }
            int end = to;
            if (n > 0 || to == BLOCK_BYTES) {
                while (end > 0 && block.bytes[end - 1] != '\n') {
                    end--;
                }
                if (end == 0) {
                    throw new IOException("a row longer than a block");
                }
            }
            restBytes = to - end;
            System.arraycopy(block.bytes, end, rest, 0, restBytes);
            block.from = 0;
            block.to = end;
            return block;
        }

        @Override
        public void close() throws IOException {
            in.close();
        }
    }

    /** Whole rows. */
    private static final class Block implements BulkFormat.RecordIterator<Event> {
        private final Reader reader;
        final byte[] bytes = new byte[BLOCK_BYTES];
        int from;
        int to;
        private final Event event = new Event();
        private final MutableRecordAndPosition<Event> record = new MutableRecordAndPosition<>();

        Block(Reader reader) {
            this.reader = reader;
        }

        @Override
        public RecordAndPosition<Event> next() {
            if (from == to) {
                return null;
            }
            event.stay = (int) number(',');
            long variable = number(',');
            if (variable >= Event.VARIABLES) {
                throw new IllegalArgumentException("variable " + variable + " is not below 17");
            }
            event.variable = (byte) variable;
            event.at = number(',');
            event.value = decimal();
            record.set(event, RecordAndPosition.NO_OFFSET, ++reader.rows);
            return record;
        }

        @Override
        public void releaseBatch() {
            reader.free.add(this);
        }

        private long number(char end) {
            final byte[] bytes = this.bytes;
            int i = from;
            long n = 0;
            byte b = bytes[i++];
            boolean negative = b == '-';
            if (negative) {
                b = bytes[i++];
            }
            int first = i;
            while (b >= '0' && b <= '9') {
                n = n * 10 + (b - '0');
                b = bytes[i++];
            }
            if (b != end || i == first) {
                throw bad();
            }
            from = i;
            return negative ? -n : n;
        }

        private double decimal() {
            final byte[] bytes = this.bytes;
            int i = from;
            boolean negative = bytes[i] == '-';
            if (negative) {
                i++;
            }
            long n = 0;
            int digits = 0;
            int decimals = 0;
            int point = 0;
            for (; i < to && bytes[i] != '\n'; i++) {
                byte b = bytes[i];
                if (b >= '0' && b <= '9') {
                    n = n * 10 + (b - '0');
                    digits++;
                    decimals += point;
                } else if (b == '.' && point == 0) {
                    point = 1;
                } else {
                    throw bad();
                }
            }
            if (digits == 0 || digits > EXACT_DIGITS) {
                throw bad();
            }
            from = Math.min(i + 1, to);
            double value = n / POWERS_OF_TEN[decimals];
            return negative ? -value : value;
        }

        private IllegalArgumentException bad() {
            return new IllegalArgumentException(
                    "row " + (reader.rows + 1) + ": not stay,variable,event_time_ms,value");
        }
    }
}
