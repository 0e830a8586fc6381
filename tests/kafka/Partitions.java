import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.StringJoiner;
import org.apache.kafka.clients.producer.internals.BuiltInPartitioner;

/** Where Kafka's Java producer puts keys: a key a line on stdin, a line of partitions for it, one per count given. */
final class Partitions {
    public static void main(String[] counts) throws IOException {
        var keys = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String key = keys.readLine(); key != null; key = keys.readLine()) {
            byte[] bytes = key.getBytes(StandardCharsets.UTF_8);
            StringJoiner found = new StringJoiner(" ");
            for (String count : counts) {
                found.add(Integer.toString(BuiltInPartitioner.partitionForKey(bytes, Integer.parseInt(count))));
            }
            System.out.println(found);
        }
    }
}
