import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;

/** What the drivers share: named cases, what each of them saw, and how a driver tells of it (see stock.py). */
class Cases {
    /** A case. */
    interface Case {
        void run() throws Exception;
    }

    /** Seconds; a wait ends as soon as what is awaited is there. */
    static final int PATIENCE = 30;

    private static final Map<String, Case> CASES = new LinkedHashMap<>();
    private static final StringBuilder SEEN = new StringBuilder();

    static void on(String name, Case run) {
        if (CASES.put(name, run) != null) {
            throw new IllegalStateException("two cases are called " + name);
        }
    }

    static boolean has(String name) {
        return CASES.containsKey(name);
    }

    /** Adds to what the case saw, which the other server must show as well. */
    static void note(Object what) {
        SEEN.append(what).append('\n');
    }

    static void equal(Object got, Object wanted) {
        note(got);
        if (!String.valueOf(got).equals(String.valueOf(wanted))) {
            throw new AssertionError(got + " where " + wanted + " was due");
        }
    }

    static void await(String what, Callable<Boolean> condition) throws Exception {
        long end = System.nanoTime() + PATIENCE * 1_000_000_000L;
        while (!condition.call()) {
            if (System.nanoTime() > end) {
                throw new AssertionError("not within " + PATIENCE + " s: " + what);
            }
            Thread.sleep(5);
        }
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    /** Runs the cases whose names hold what the system property `only` says; true if all passed. */
    static boolean run(Case before, Case after) {
        boolean good = true;
        for (Map.Entry<String, Case> each : new ArrayList<>(CASES.entrySet())) {
            if (!each.getKey().contains(System.getProperty("only", ""))) {
                continue;
            }
            SEEN.setLength(0);
            Throwable error = null;
            try {
                before.run();
                each.getValue().run();
                after.run();
            } catch (Throwable thrown) {
                error = thrown;
            }
            good &= error == null;
            String text = error == null ? SEEN.toString() : error + where(error) + " behind " + SEEN;
            System.out.println("@case\t" + each.getKey() + "\t" + (error == null ? "passed" : "FAILED") + "\t"
                    + text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n"));
        }
        return good;
    }

    private static String where(Throwable error) {
        List<String> lines = new ArrayList<>();
        for (StackTraceElement element : error.getStackTrace()) {
            String file = element.getFileName();
            if (file != null && file.endsWith("Cases.java") && !file.equals("Cases.java")) {
                lines.add(file + ":" + element.getLineNumber());
            }
        }
        return " at " + lines;
    }

    static void missing(String name) {
        System.out.println("@missing\t" + name);
    }
}
