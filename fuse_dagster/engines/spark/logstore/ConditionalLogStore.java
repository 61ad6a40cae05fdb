package fuse_dagster;

import io.delta.storage.S3SingleDriverLogStore;
import java.io.ByteArrayOutputStream;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileAlreadyExistsException;
import java.util.Arrays;
import java.util.Iterator;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FSDataOutputStreamBuilder;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/**
 * Delta's log on S3, where a commit is written by a conditional put: only where there is none of its version.
 *
 * Needs Hadoop's S3A 3.4.2 or newer; an older one refuses the option, and nothing is written.
 */
public class ConditionalLogStore extends S3SingleDriverLogStore {
    private static final String ONLY_WHERE_NONE_IS = "fs.option.create.conditional.overwrite";

    public ConditionalLogStore(Configuration conf) {
        super(conf);
    }

    @Override
    public void write(Path path, Iterator<String> actions, Boolean overwrite, Configuration conf) throws IOException {
        if (overwrite) {
            super.write(path, actions, true, conf);
            return;
        }
        byte[] commit = bytes(actions);
        FileSystem store = path.getFileSystem(conf);
        try {
            FSDataOutputStreamBuilder<?, ?> file = store.createFile(path).recursive();
            FSDataOutputStream out = file.must(ONLY_WHERE_NONE_IS, true).build();
            out.write(commit);
            out.close();
        } catch (IOException failed) {
            // Asked again after an answer was lost, the store refuses what it has already taken. Every commit names
            // itself, so the same bytes are the same commit.
            byte[] there = content(store, path);
            if (there == null) {
                throw failed;
            }
            if (!Arrays.equals(there, commit)) {
                throw new FileAlreadyExistsException(path.toString());
            }
        }
    }

    private static byte[] bytes(Iterator<String> actions) {
        StringBuilder text = new StringBuilder();
        while (actions.hasNext()) {
            text.append(actions.next()).append('\n');
        }
        return text.toString().getBytes(StandardCharsets.UTF_8);
    }

    private static byte[] content(FileSystem store, Path path) throws IOException {
        try (FSDataInputStream in = store.open(path)) {
            ByteArrayOutputStream found = new ByteArrayOutputStream();
            in.transferTo(found);
            return found.toByteArray();
        } catch (FileNotFoundException absent) {
            return null;
        }
    }
}
