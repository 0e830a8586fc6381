import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonFactoryBuilder;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.core.util.ByteArrayBuilder;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.errors.SerializationException;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.LogAndContinueExceptionHandler;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.Repartitioned;
import org.apache.kafka.streams.state.Stores;

/**
 * input (by session) -> parse once, project, key by user -> repartition -> aggregate per user -> render -> output.
 *
 * The JSON is parsed exactly once, before the repartition topic; the repartition topic carries a compact binary Entry
 * (what the output needs, nothing more). A user's state is the plain concatenation of the entries still inside the
 * window, so the aggregator never decodes it: it drops expired entries and appends. The record cache coalesces updates
 * of a user until the next commit; only then is the output rendered (and the changelog written).
 *
 * Entry: int size | double t | short n | short sid,product,email lengths | sid product email
 *        | n * (short len, "[i] type: desc — url")
 */
public final class StreamsPeer {
    static final double WINDOW_S = 300;
    static final int MAX_SESSIONS = 20;

    record Keyed(String user, byte[] entry) {}

    // ---------------------------------------------------------------- entry layout
    static final int H_T = 4, H_N = 12, H_SID = 14, H_PROD = 16, H_MAIL = 18, HEAD = 20;

    static int i32(byte[] b, int o) {
        return (b[o] & 255) << 24 | (b[o + 1] & 255) << 16 | (b[o + 2] & 255) << 8 | b[o + 3] & 255;
    }

    static int u16(byte[] b, int o) {
        return (b[o] & 255) << 8 | b[o + 1] & 255;
    }

    static double time(byte[] b, int o) {
        return Double.longBitsToDouble((long) i32(b, o + H_T) << 32 | i32(b, o + H_T + 4) & 0xffffffffL);
    }

    static boolean sameSession(byte[] a, int o, byte[] b, int q) {
        int n = u16(a, o + H_SID);
        return n == u16(b, q + H_SID) && Arrays.equals(a, o + HEAD, o + HEAD + n, b, q + HEAD, q + HEAD + n);
    }

    // ---------------------------------------------------------------- parse and project
    static final class PayloadDeserializer implements Deserializer<Keyed> {
        private static final JsonFactory JSON =
            new JsonFactoryBuilder().enable(StreamReadFeature.USE_FAST_DOUBLE_PARSER).build();
        private static final byte[] NONE = {};
        private static final byte[] DASH = utf8(" — ");

        /** One record's action lines. A serde is shared by all stream threads, so this cannot be a field of it. */
        private static final class Lines {
            byte[] buf;
            int at;

            Lines(int size) {
                buf = new byte[size];
            }

            void room(int n) {
                if (at + n > buf.length) buf = Arrays.copyOf(buf, Math.max(buf.length * 2, at + n));
            }

            void put(byte[] s) {
                room(s.length);
                System.arraycopy(s, 0, buf, at, s.length);
                at += s.length;
            }

            void ascii(String s) {
                room(s.length());
                for (int i = 0; i < s.length(); i++) buf[at++] = (byte) s.charAt(i);
            }
        }

        private static byte[] utf8(String s) {
            return s == null ? NONE : s.getBytes(StandardCharsets.UTF_8);
        }

        @Override
        public Keyed deserialize(String topic, byte[] data) {
            if (data == null) return null;
            try (JsonParser p = JSON.createParser(data)) {
                String user = null, sid = null, product = null, email = null;
                double t = 0;
                int n = 0;
                Lines w = new Lines(data.length);
                if (p.nextToken() != JsonToken.START_OBJECT) throw new SerializationException("not an object");
                for (String f; (f = p.nextFieldName()) != null; ) {
                    switch (f) {
                        case "user_id" -> user = p.nextTextValue();
                        case "session_id" -> sid = p.nextTextValue();
                        case "product_id" -> product = p.nextTextValue();
                        case "email" -> email = p.nextTextValue();
                        case "forwarded_at" -> {
                            p.nextToken();
                            t = p.getDoubleValue();
                        }
                        case "actions" -> {
                            p.nextToken();
                            while (p.nextToken() == JsonToken.START_OBJECT) {
                                action(p, w);
                                n++;
                            }
                        }
                        default -> {
                            p.nextToken();
                            p.skipChildren();
                        }
                    }
                }
                if (user == null || sid == null) throw new SerializationException("no user_id or session_id");
                byte[] s = utf8(sid), pr = utf8(product), m = utf8(email);
                int size = HEAD + s.length + pr.length + m.length + w.at;
                return new Keyed(user, ByteBuffer.allocate(size)
                    .putInt(size).putDouble(t).putShort((short) n)
                    .putShort((short) s.length).putShort((short) pr.length).putShort((short) m.length)
                    .put(s).put(pr).put(m).put(w.buf, 0, w.at).array());
            } catch (IOException e) {
                throw new SerializationException(e);
            }
        }

        private void action(JsonParser p, Lines w) throws IOException {
            String type = null, desc = null, url = null, index = null;
            for (String f; (f = p.nextFieldName()) != null; ) {
                switch (f) {
                    case "index" -> {
                        p.nextToken();
                        index = p.getText();
                    }
                    case "type" -> type = p.nextTextValue();
                    case "description" -> desc = p.nextTextValue();
                    case "canonical_url" -> url = p.nextTextValue();
                    default -> {
                        p.nextToken();
                        p.skipChildren();
                    }
                }
            }
            int start = w.at;
            w.room(3);
            w.at += 2;
            w.buf[w.at++] = '[';
            w.ascii(String.valueOf(index));
            w.ascii("] ");
            w.put(utf8(type));
            w.ascii(": ");
            w.put(utf8(desc));
            w.put(DASH);
            w.put(utf8(url));
            int len = Math.min(w.at - start - 2, 0xffff);
            w.at = start + 2 + len;
            w.buf[start] = (byte) (len >> 8);
            w.buf[start + 1] = (byte) len;
        }
    }

    // ---------------------------------------------------------------- aggregate: expire, append
    static byte[] add(byte[] state, byte[] e) {
        if (state == null || state.length == 0) return e;
        double newest = time(e, 0);
        boolean known = false;
        for (int o = 0; o < state.length; o += i32(state, o)) {
            newest = Math.max(newest, time(state, o));
            known = known || sameSession(state, o, e, 0);
        }
        double from = newest - WINDOW_S;
        if (time(e, 0) < from) return state;
        byte[] out = new byte[state.length + e.length];
        int n = 0;
        for (int o = 0, stop; o < state.length; o = stop) {     // runs of live entries, copied as one
            while (o < state.length && time(state, o) < from) o += i32(state, o);
            for (stop = o; stop < state.length && time(state, stop) >= from; ) stop += i32(state, stop);
            System.arraycopy(state, o, out, n, stop - o);
            n += stop - o;
        }
        System.arraycopy(e, 0, out, n, e.length);
        n += e.length;
        if (n < out.length) out = Arrays.copyOf(out, n);
        return known ? out : limit(out);
    }

    /** A new session came: if there are too many now, forget the ones seen longest ago. */
    static byte[] limit(byte[] state) {
        List<Session> all = sessions(state);
        if (all.size() <= MAX_SESSIONS) return state;
        List<Session> keep = all.subList(0, MAX_SESSIONS);
        byte[] out = new byte[state.length];
        int n = 0;
        for (int o = 0; o < state.length; o += i32(state, o)) {
            final int at = o;
            if (keep.stream().anyMatch(s -> sameSession(state, at, state, s.last))) {
                System.arraycopy(state, o, out, n, i32(state, o));
                n += i32(state, o);
            }
        }
        return Arrays.copyOf(out, n);
    }

    static final class Session {
        final List<Integer> entries = new ArrayList<>();
        int last, actions;
        double t;
    }

    /** Newest first. */
    static List<Session> sessions(byte[] state) {
        List<Session> all = new ArrayList<>();
        for (int o = 0; o < state.length; o += i32(state, o)) {
            Session s = null;
            for (Session x : all) if (sameSession(state, o, state, x.last)) s = x;
            if (s == null) {
                all.add(s = new Session());
                s.t = -1;
            }
            s.entries.add(o);
            s.actions += u16(state, o + H_N);
            if (time(state, o) >= s.t) {
                s.t = time(state, o);
                s.last = o;
            }
        }
        all.sort(Comparator.comparingDouble((Session s) -> -s.t));
        return all;
    }

    // ---------------------------------------------------------------- render
    static final JsonFactory OUT = new JsonFactory();
    static final byte[] TITLE = "Recent activity:\n".getBytes(StandardCharsets.US_ASCII);

    static byte[] render(String user, byte[] state) {
        List<Session> all = sessions(state);
        ByteArrayBuilder to = new ByteArrayBuilder(state.length + 512);
        ByteArrayBuilder ctx = new ByteArrayBuilder(state.length + 64);
        try (JsonGenerator g = OUT.createGenerator(to)) {
            int newest = all.get(0).last;
            g.writeStartObject();
            g.writeStringField("user_id", user);
            int mail = newest + HEAD + u16(state, newest + H_SID) + u16(state, newest + H_PROD);
            g.writeFieldName("email");
            g.writeUTF8String(state, mail, u16(state, newest + H_MAIL));
            g.writeArrayFieldStart("sessions");
            for (Session s : all) {
                int o = s.last, sid = u16(state, o + H_SID);
                g.writeStartObject();
                g.writeFieldName("session_id");
                g.writeUTF8String(state, o + HEAD, sid);
                g.writeFieldName("product_id");
                g.writeUTF8String(state, o + HEAD + sid, u16(state, o + H_PROD));
                g.writeNumberField("last_seen_at", s.t);
                g.writeNumberField("action_count", s.actions);
                ctx.reset();
                ctx.write(TITLE);
                int line = 1;
                for (int q : s.entries) {
                    int a = q + HEAD + u16(state, q + H_SID) + u16(state, q + H_PROD) + u16(state, q + H_MAIL);
                    for (int i = u16(state, q + H_N); i > 0; i--) {
                        if (line > 1) ctx.append('\n');
                        ctx.write(Integer.toString(line++).getBytes(StandardCharsets.US_ASCII));
                        ctx.append('.');
                        ctx.append(' ');
                        int len = u16(state, a);
                        ctx.write(state, a + 2, len);
                        a += 2 + len;
                    }
                }
                byte[] text = ctx.toByteArray();
                g.writeFieldName("context");
                g.writeUTF8String(text, 0, text.length);
                g.writeEndObject();
            }
            g.writeEndArray();
            g.writeEndObject();
        } catch (IOException e) {
            throw new SerializationException(e);
        }
        return to.toByteArray();
    }

    // ---------------------------------------------------------------- topology
    static Topology topology(String input, String output) {
        Serde<Keyed> payload = Serdes.serdeFrom((topic, v) -> v.entry(), new PayloadDeserializer());
        StreamsBuilder b = new StreamsBuilder();
        b.stream(input, Consumed.with(Serdes.ByteArray(), payload))
            .map((sid, p) -> KeyValue.pair(p.user(), p.entry()))
            .repartition(Repartitioned.with(Serdes.String(), Serdes.ByteArray())
                .withName("by-user").withNumberOfPartitions(4))
            .groupByKey(Grouped.with(Serdes.String(), Serdes.ByteArray()))
            .aggregate(() -> new byte[0], (user, entry, state) -> add(state, entry),
                Materialized.<String, byte[]>as(Stores.inMemoryKeyValueStore("users"))
                    .withKeySerde(Serdes.String()).withValueSerde(Serdes.ByteArray()).withCachingEnabled())
            .toStream()
            .mapValues(StreamsPeer::render)
            .to(output, Produced.with(Serdes.String(), Serdes.ByteArray()));
        return b.build();
    }

    /** BOOTSTRAP INPUT OUTPUT GROUP; tuned for throughput, or with LATENCY=1 in the environment for latency. */
    public static void main(String[] a) throws Exception {
        boolean low = "1".equals(System.getenv("LATENCY"));
        Properties c = new Properties();
        c.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, a[0]);
        c.put(StreamsConfig.APPLICATION_ID_CONFIG, a[3]);
        c.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.AT_LEAST_ONCE);
        c.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 1);
        c.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, low ? 100 : 1000);
        c.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, low ? 0L : 128L << 20);
        c.put(StreamsConfig.STATE_DIR_CONFIG, Files.createTempDirectory("streams-").toString());
        c.put(StreamsConfig.TOPOLOGY_OPTIMIZATION_CONFIG, StreamsConfig.OPTIMIZE);
        c.put(StreamsConfig.DESERIALIZATION_EXCEPTION_HANDLER_CLASS_CONFIG, LogAndContinueExceptionHandler.class);
        c.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
        c.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_POLL_RECORDS_CONFIG), 1000);
        c.put(StreamsConfig.producerPrefix(ProducerConfig.LINGER_MS_CONFIG), low ? 0 : 100);
        c.put(StreamsConfig.producerPrefix(ProducerConfig.BATCH_SIZE_CONFIG), low ? 16384 : 131072);
        c.put(StreamsConfig.producerPrefix(ProducerConfig.BUFFER_MEMORY_CONFIG), 67108864L);

        KafkaStreams streams = new KafkaStreams(topology(a[1], a[2]), c);
        CountDownLatch done = new CountDownLatch(1);
        streams.setUncaughtExceptionHandler(e -> {
            e.printStackTrace();
            return StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            streams.close(Duration.ofSeconds(15));
            done.countDown();
        }));
        streams.start();
        done.await();
    }
}
