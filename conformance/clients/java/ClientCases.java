import java.lang.reflect.Constructor;
import java.lang.reflect.Executable;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.lang.reflect.Proxy;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import org.apache.zookeeper.AddWatchMode;
import org.apache.zookeeper.AsyncCallback;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.Op;
import org.apache.zookeeper.Testable;
import org.apache.zookeeper.Transaction;
import org.apache.zookeeper.WatchedEvent;
import org.apache.zookeeper.Watcher;
import org.apache.zookeeper.Watcher.WatcherType;
import org.apache.zookeeper.ZooDefs;
import org.apache.zookeeper.ZooDefs.Perms;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.admin.ZooKeeperAdmin;
import org.apache.zookeeper.client.HostProvider;
import org.apache.zookeeper.client.StaticHostProvider;
import org.apache.zookeeper.client.ZKClientConfig;
import org.apache.zookeeper.client.ZooKeeperSaslClient;
import org.apache.zookeeper.data.ACL;
import org.apache.zookeeper.data.Id;
import org.apache.zookeeper.data.Stat;

/**
 * Every public method and constructor of ZooKeeper and ZooKeeperAdmin, found by reflection, against one server.
 *
 * A case is called as the signature that it is about, and its `see` calls just that one.
 */
public final class ClientCases extends Shown {
    static final List<ACL> OPEN = ZooDefs.Ids.OPEN_ACL_UNSAFE;
    static final List<ACL> READ = Collections.singletonList(new ACL(Perms.READ, ZooDefs.Ids.ANYONE_ID_UNSAFE));
    static final Class<?>[] CLASSES = {ZooKeeper.class, ZooKeeperAdmin.class};
    /** In the place of a callback. */
    static final Object CALLBACK = new Object();
    static final String CONTEXT = "context";

    static String hosts;
    static Executable current;
    static int count;
    static final Set<String> CALLED = new HashSet<>();

    /** Keeps what a watch is told. */
    static final class Told implements Watcher {
        final BlockingQueue<String> events = new LinkedBlockingQueue<>();

        @Override
        public void process(WatchedEvent event) {
            String path = event.getPath() == null ? "" : " " + shown(event.getPath());
            events.add(event.getType() == Event.EventType.None ? event.getState().toString() : event.getType() + path);
        }

        void see(String... wanted) throws Exception {
            for (String each : wanted) {
                String event = events.poll(PATIENCE, TimeUnit.SECONDS);
                equal(event, each);
            }
        }

        /** Sees no more, when all that was sent before has come. */
        void seesNoMore(ZooKeeper of) throws Exception {
            of.exists("/", false);
            equal(events, "[]");
        }
    }

    static String signature(Executable of) {
        String types = Arrays.stream(of.getParameterTypes()).map(Class::getSimpleName).collect(Collectors.joining(","));
        String name = of instanceof Constructor ? "new" : of.getName();
        return of.getDeclaringClass().getSimpleName() + "." + name + "(" + types + ")";
    }

    static List<Executable> offered() {
        List<Executable> all = new ArrayList<>();
        for (Class<?> each : CLASSES) {
            for (Constructor<?> constructor : each.getConstructors()) {
                all.add(constructor);
            }
            for (Method method : each.getDeclaredMethods()) {
                if (Modifier.isPublic(method.getModifiers()) && !method.isSynthetic()) {
                    all.add(method);
                }
            }
        }
        return all;
    }

    /** A case about a signature, which must exist in this version of the client. */
    static void about(String signature, Case run) {
        Executable found = offered().stream().filter(each -> signature(each).equals(signature)).findFirst().orElse(null);
        if (found == null) {
            throw new IllegalStateException("the client has no " + signature);
        }
        on(signature, () -> {
            current = found;
            run.run();
            if (!CALLED.contains(signature)) {
                throw new AssertionError("the case does not call it");
            }
        });
    }

    static String at(String below) {
        return base + below;
    }

    /** Calls what the case is about; an exception is what it came to. */
    static Object call(ZooKeeper target, Object... words) throws Exception {
        Object[] given = words.clone();
        BlockingQueue<String> answer = new ArrayBlockingQueue<>(1);
        boolean later = false;
        for (int at = 0; at < given.length; at++) {
            if (given[at] == CALLBACK) {
                later = true;
                given[at] = Proxy.newProxyInstance(ClientCases.class.getClassLoader(), new Class<?>[] {current.getParameterTypes()[at]},
                        (proxy, method, result) -> {
                            answer.add(results(result));
                            return null;
                        });
            }
        }
        CALLED.add(signature(current));
        try {
            Object result = current instanceof Constructor ? ((Constructor<?>) current).newInstance(given) : ((Method) current).invoke(target, given);
            if (later) {
                String text = answer.poll(PATIENCE, TimeUnit.SECONDS);
                return text == null ? "no answer" : text;
            }
            return ((current instanceof Method) && ((Method) current).getReturnType() == void.class) ? "done" : result;
        } catch (InvocationTargetException wrapped) {
            return wrapped.getCause();
        }
    }

    /** Calls what the case is about, on the client at hand, and shows what it came to. */
    static void see(String wanted, Object... words) throws Exception {
        equal(shown(call(zk, words)), wanted);
    }

    static String make(String below, String data) throws Exception {
        return zk.create(at(below), bytes(data), OPEN, CreateMode.PERSISTENT);
    }

    static ZooKeeper another() throws Exception {
        Told told = new Told();
        ZooKeeper client = new ZooKeeper(hosts, 30_000, told);
        await("a connection", () -> told.events.contains("SyncConnected"));
        return client;
    }

    static final String NEW = "{version 0,0,0 length 1 children 0 owner none new}";
    static final String MINE = "{version 0,0,0 length 1 children 0 owner mine new}";
    static final String SET = "{version 1,0,0 length 3 children 0 owner none changed}";
    static final byte[] X = bytes("x");

    static void creates() {
        about("ZooKeeper.create(String,byte[],List,CreateMode)", () -> {
            see("/a", at("/a"), X, OPEN, CreateMode.PERSISTENT);
            see("!NODEEXISTS /a", at("/a"), X, OPEN, CreateMode.PERSISTENT);
            see("!NONODE /none/a", at("/none/a"), X, OPEN, CreateMode.PERSISTENT);
            see("/e", at("/e"), X, OPEN, CreateMode.EPHEMERAL);
            see("!NOCHILDRENFOREPHEMERALS /e/a", at("/e/a"), X, OPEN, CreateMode.PERSISTENT);
            see("/s-0000000002", at("/s-"), X, OPEN, CreateMode.PERSISTENT_SEQUENTIAL);
            see("/s-0000000003", at("/s-"), X, OPEN, CreateMode.EPHEMERAL_SEQUENTIAL);
            see("/c", at("/c"), null, OPEN, CreateMode.CONTAINER);
            see("!IllegalArgumentException", at("/t"), X, OPEN, CreateMode.PERSISTENT_WITH_TTL);
            see("!IllegalArgumentException", at("/t/"), X, OPEN, CreateMode.PERSISTENT);
            see("!INVALIDACL", at("/l"), X, Collections.emptyList(), CreateMode.PERSISTENT);
            see("!INVALIDACL /l", at("/l"), X, Collections.singletonList(new ACL(31, new Id("nonsense", "x"))), CreateMode.PERSISTENT);
            see("!INVALIDACL /l", at("/l"), X, ZooDefs.Ids.CREATOR_ALL_ACL, CreateMode.PERSISTENT);
            see("/r", at("/r"), X, READ, CreateMode.PERSISTENT);
            see("!NOAUTH /r/a", at("/r/a"), X, OPEN, CreateMode.PERSISTENT);
        });
        about("ZooKeeper.create(String,byte[],List,CreateMode,Stat)", () -> {
            Stat stat = new Stat();
            see("/a", at("/a"), X, OPEN, CreateMode.PERSISTENT, stat);
            equal(shown(stat), NEW);
            see("/e", at("/e"), X, OPEN, CreateMode.EPHEMERAL, stat);
            equal(shown(stat), MINE);
            see("/c", at("/c"), X, OPEN, CreateMode.CONTAINER, stat);
            equal(shown(stat), NEW);
            see("!NODEEXISTS /a", at("/a"), X, OPEN, CreateMode.PERSISTENT, stat);
        });
        about("ZooKeeper.create(String,byte[],List,CreateMode,Stat,long)", () -> {
            Stat stat = new Stat();
            see("/t", at("/t"), X, OPEN, CreateMode.PERSISTENT_WITH_TTL, stat, 600L);
            equal(shown(stat), NEW);
            see("/t-0000000001", at("/t-"), X, OPEN, CreateMode.PERSISTENT_SEQUENTIAL_WITH_TTL, stat, 600_000L);
            see("!IllegalArgumentException", at("/b"), X, OPEN, CreateMode.PERSISTENT_WITH_TTL, stat, 0L);
            see("!IllegalArgumentException", at("/b"), X, OPEN, CreateMode.PERSISTENT, stat, 5L);
            await("what has lived its time is gone", () -> zk.exists(at("/t"), false) == null);
            note(shown(zk.getChildren(base, false)));
        });
        about("ZooKeeper.create(String,byte[],List,CreateMode,StringCallback,Object)", () -> {
            see("OK /a context /a", at("/a"), X, OPEN, CreateMode.PERSISTENT, CALLBACK, CONTEXT);
            see("NODEEXISTS /a context null", at("/a"), X, OPEN, CreateMode.PERSISTENT, CALLBACK, CONTEXT);
            see("OK /s- context /s-0000000001", at("/s-"), X, OPEN, CreateMode.PERSISTENT_SEQUENTIAL, CALLBACK, CONTEXT);
            see("NONODE /none/a null null", at("/none/a"), X, OPEN, CreateMode.EPHEMERAL, CALLBACK, null);
        });
        about("ZooKeeper.create(String,byte[],List,CreateMode,Create2Callback,Object)", () -> {
            see("OK /a context /a " + NEW, at("/a"), X, OPEN, CreateMode.PERSISTENT, CALLBACK, CONTEXT);
            see("OK /c context /c " + NEW, at("/c"), X, OPEN, CreateMode.CONTAINER, CALLBACK, CONTEXT);
            see("OK /e context /e " + MINE, at("/e"), X, OPEN, CreateMode.EPHEMERAL, CALLBACK, CONTEXT);
            see("NODEEXISTS /a context null null", at("/a"), X, OPEN, CreateMode.PERSISTENT, CALLBACK, CONTEXT);
        });
        about("ZooKeeper.create(String,byte[],List,CreateMode,Create2Callback,Object,long)", () -> {
            see("OK /t context /t " + NEW, at("/t"), X, OPEN, CreateMode.PERSISTENT_WITH_TTL, CALLBACK, CONTEXT, 3_000L);
            see("NODEEXISTS /t context null null", at("/t"), X, OPEN, CreateMode.PERSISTENT_WITH_TTL, CALLBACK, CONTEXT, 500_000L);
            await("what has lived its time is gone", () -> zk.exists(at("/t"), false) == null);
        });
        about("ZooKeeper.delete(String,int)", () -> {
            make("/a", "x");
            make("/a/b", "x");
            see("!NOTEMPTY /a", at("/a"), -1);
            see("!BADVERSION /a/b", at("/a/b"), 3);
            see("done", at("/a/b"), 0);
            see("done", at("/a"), -1);
            see("!NONODE /a", at("/a"), -1);
            see("!BADARGUMENTS /zookeeper/quota", "/zookeeper/quota", -1);
            see("!BADARGUMENTS /", "/", -1);
        });
        about("ZooKeeper.delete(String,int,VoidCallback,Object)", () -> {
            make("/a", "x");
            see("BADVERSION /a context", at("/a"), 1, CALLBACK, CONTEXT);
            see("OK /a context", at("/a"), 0, CALLBACK, CONTEXT);
            see("NONODE /a context", at("/a"), 0, CALLBACK, CONTEXT);
        });
    }

    static void reads() {
        about("ZooKeeper.exists(String,Watcher)", () -> {
            Told told = new Told();
            see("null", at("/a"), told);
            make("/a", "x");
            told.see("NodeCreated /a");
            see(NEW, at("/a"), told);
            zk.setData(at("/a"), bytes("one"), 0);
            told.see("NodeDataChanged /a");
            see(SET, at("/a"), told);
            zk.delete(at("/a"), -1);
            told.see("NodeDeleted /a");
            told.seesNoMore(zk);
        });
        about("ZooKeeper.exists(String,boolean)", () -> {
            Told told = new Told();
            zk.register(told);
            see("null", at("/a"), true);
            make("/a", "x");
            told.see("NodeCreated /a");
            see(NEW, at("/a"), false);
            zk.delete(at("/a"), 0);
            told.seesNoMore(zk);
        });
        about("ZooKeeper.exists(String,Watcher,StatCallback,Object)", () -> {
            Told told = new Told();
            see("NONODE /a context null", at("/a"), told, CALLBACK, CONTEXT);
            make("/a", "x");
            told.see("NodeCreated /a");
            see("OK /a context " + NEW, at("/a"), null, CALLBACK, CONTEXT);
        });
        about("ZooKeeper.exists(String,boolean,StatCallback,Object)", () -> {
            see("NONODE /a context null", at("/a"), false, CALLBACK, CONTEXT);
            make("/a", "x");
            see("OK /a context " + NEW, at("/a"), true, CALLBACK, CONTEXT);
        });
        about("ZooKeeper.getData(String,Watcher,Stat)", () -> {
            Told told = new Told();
            make("/a", "x");
            Stat stat = new Stat();
            see("'x'", at("/a"), told, stat);
            equal(shown(stat), NEW);
            zk.setData(at("/a"), bytes("one"), 0);
            told.see("NodeDataChanged /a");
            see("'one'", at("/a"), told, stat);
            equal(shown(stat), SET);
            zk.delete(at("/a"), -1);
            told.see("NodeDeleted /a");
            see("!NONODE /a", at("/a"), told, stat);
            make("/a", "x");
            told.seesNoMore(zk);
            zk.create(at("/null"), null, OPEN, CreateMode.PERSISTENT);
            see("null", at("/null"), null, stat);
            make("/empty", "");
            see("''", at("/empty"), null, stat);
            zk.create(at("/hidden"), X, Collections.singletonList(new ACL(Perms.WRITE, ZooDefs.Ids.ANYONE_ID_UNSAFE)), CreateMode.PERSISTENT);
            see("!NOAUTH /hidden", at("/hidden"), null, stat);
        });
        about("ZooKeeper.getData(String,boolean,Stat)", () -> {
            Told told = new Told();
            zk.register(told);
            make("/a", "x");
            see("'x'", at("/a"), true, null);
            zk.delete(at("/a"), -1);
            told.see("NodeDeleted /a");
            see("!NONODE /a", at("/a"), false, new Stat());
        });
        about("ZooKeeper.getData(String,Watcher,DataCallback,Object)", () -> {
            Told told = new Told();
            see("NONODE /a context null null", at("/a"), told, CALLBACK, CONTEXT);
            make("/a", "x");
            see("OK /a context 'x' " + NEW, at("/a"), told, CALLBACK, CONTEXT);
            zk.setData(at("/a"), X, 0);
            told.see("NodeDataChanged /a");
        });
        about("ZooKeeper.getData(String,boolean,DataCallback,Object)", () -> {
            make("/a", "x");
            see("OK /a context 'x' " + NEW, at("/a"), false, CALLBACK, CONTEXT);
            see("NONODE /b context null null", at("/b"), true, CALLBACK, CONTEXT);
        });
        about("ZooKeeper.setData(String,byte[],int)", () -> {
            make("/a", "x");
            see(SET, at("/a"), bytes("one"), 0);
            see("!BADVERSION /a", at("/a"), bytes("one"), 0);
            see("{version 2,0,0 length 0 children 0 owner none changed}", at("/a"), null, -1);
            see("!NONODE /b", at("/b"), X, -1);
            zk.create(at("/r"), X, READ, CreateMode.PERSISTENT);
            see("!NOAUTH /r", at("/r"), X, -1);
        });
        about("ZooKeeper.setData(String,byte[],int,StatCallback,Object)", () -> {
            make("/a", "x");
            see("OK /a context " + SET, at("/a"), bytes("one"), 0, CALLBACK, CONTEXT);
            see("BADVERSION /a context null", at("/a"), bytes("one"), 0, CALLBACK, CONTEXT);
            see("NONODE /b context null", at("/b"), bytes("one"), 0, CALLBACK, CONTEXT);
        });
        about("ZooKeeper.getACL(String,Stat)", () -> {
            make("/a", "x");
            Stat stat = new Stat();
            see("[31:world:anyone]", at("/a"), stat);
            equal(shown(stat), NEW);
            zk.create(at("/d"), X, Arrays.asList(new ACL(31, new Id("digest", "ann:Fy1xdVDWcpL8w0s1p1bIXO3hRmY=")), READ.get(0)), CreateMode.PERSISTENT);
            see("[31:digest:ann:x, 1:world:anyone]", at("/d"), null);
            see("!NONODE /b", at("/b"), stat);
        });
        about("ZooKeeper.getACL(String,Stat,ACLCallback,Object)", () -> {
            make("/a", "x");
            see("OK /a context [31:world:anyone] " + NEW, at("/a"), new Stat(), CALLBACK, CONTEXT);
            see("NONODE /b context null null", at("/b"), new Stat(), CALLBACK, CONTEXT);
        });
        about("ZooKeeper.setACL(String,List,int)", () -> {
            make("/a", "x");
            see("{version 0,0,1 length 1 children 0 owner none new}", at("/a"), Arrays.asList(READ.get(0), new ACL(16, new Id("ip", "127.0.0.1"))), 0);
            see("!BADVERSION /a", at("/a"), READ, 0);
            see("!INVALIDACL /a", at("/a"), Collections.singletonList(new ACL(1, new Id("ip", "300.0.0.1"))), -1);
            see("!NONODE /b", at("/b"), READ, -1);
            see("{version 0,0,2 length 1 children 0 owner none new}", at("/a"), READ, -1);
            see("!NOAUTH /a", at("/a"), OPEN, -1);
        });
        about("ZooKeeper.setACL(String,List,int,StatCallback,Object)", () -> {
            make("/a", "x");
            see("OK /a context {version 0,0,1 length 1 children 0 owner none new}", at("/a"), OPEN, 0, CALLBACK, CONTEXT);
            see("BADVERSION /a context null", at("/a"), OPEN, 0, CALLBACK, CONTEXT);
        });
        about("ZooKeeper.sync(String)", () -> see("done", at("/none")));
        about("ZooKeeper.sync(String,VoidCallback,Object)", () -> see("OK /a context", at("/a"), CALLBACK, CONTEXT));
    }

    static void lists() {
        String two = "{version 0,2,0 length 1 children 2 owner none new children changed}";
        Case family = () -> {
            make("/a", "x");
            make("/a/c", "x");
            make("/a/b", "x");
        };
        about("ZooKeeper.getChildren(String,Watcher)", () -> {
            family.run();
            Told told = new Told();
            see("[b, c]", at("/a"), told);
            zk.setData(at("/a/b"), X, -1);
            make("/a/d", "x");
            told.see("NodeChildrenChanged /a");
            see("[b, c, d]", at("/a"), null);
            see("[]", at("/a/b"), told);
            zk.delete(at("/a/b"), -1);
            told.see("NodeDeleted /a/b");
            see("!NONODE /b", at("/b"), told);
        });
        about("ZooKeeper.getChildren(String,boolean)", () -> {
            family.run();
            Told told = new Told();
            zk.register(told);
            see("[b, c]", at("/a"), true);
            zk.delete(at("/a/b"), -1);
            told.see("NodeChildrenChanged /a");
            see("[config, quota]", "/zookeeper", false);
        });
        about("ZooKeeper.getChildren(String,Watcher,ChildrenCallback,Object)", () -> {
            family.run();
            Told told = new Told();
            see("OK /a context [b, c]", at("/a"), told, CALLBACK, CONTEXT);
            make("/a/e", "x");
            told.see("NodeChildrenChanged /a");
            see("NONODE /b context null", at("/b"), told, CALLBACK, CONTEXT);
        });
        about("ZooKeeper.getChildren(String,boolean,ChildrenCallback,Object)", () -> {
            family.run();
            see("OK /a context [b, c]", at("/a"), false, CALLBACK, CONTEXT);
            see("OK /a/b context []", at("/a/b"), false, CALLBACK, CONTEXT);
        });
        about("ZooKeeper.getChildren(String,Watcher,Stat)", () -> {
            family.run();
            Stat stat = new Stat();
            see("[b, c]", at("/a"), null, stat);
            equal(shown(stat), two);
            see("!NONODE /b", at("/b"), null, stat);
        });
        about("ZooKeeper.getChildren(String,boolean,Stat)", () -> {
            family.run();
            Stat stat = new Stat();
            see("[b, c]", at("/a"), false, stat);
            zk.delete(at("/a/b"), -1);
            see("[c]", at("/a"), false, stat);
            equal(shown(stat), "{version 0,3,0 length 1 children 1 owner none new children changed}");
        });
        about("ZooKeeper.getChildren(String,Watcher,Children2Callback,Object)", () -> {
            family.run();
            see("OK /a context [b, c] " + two, at("/a"), new Told(), CALLBACK, CONTEXT);
            see("NONODE /b context null null", at("/b"), null, CALLBACK, CONTEXT);
        });
        about("ZooKeeper.getChildren(String,boolean,Children2Callback,Object)", () -> {
            family.run();
            see("OK /a context [b, c] " + two, at("/a"), false, CALLBACK, CONTEXT);
        });
        about("ZooKeeper.getAllChildrenNumber(String)", () -> {
            family.run();
            make("/a/b/c", "x");
            see("3", at("/a"));
            see("0", at("/a/c"));
            see("!NONODE /b", at("/b"));
        });
        about("ZooKeeper.getAllChildrenNumber(String,AllChildrenNumberCallback,Object)", () -> {
            family.run();
            see("OK /a context 2", at("/a"), CALLBACK, CONTEXT);
            see("NONODE /b context -1", at("/b"), CALLBACK, CONTEXT);
        });
        Case brief = () -> {
            zk.create(at("/e"), X, OPEN, CreateMode.EPHEMERAL);
            zk.create(at("/f"), X, OPEN, CreateMode.EPHEMERAL);
            make("/g", "x");
        };
        about("ZooKeeper.getEphemerals()", () -> {
            see("[]");
            brief.run();
            see("[/e, /f]");
            zk.delete(at("/e"), -1);
            see("[/f]");
        });
        about("ZooKeeper.getEphemerals(String)", () -> {
            brief.run();
            see("[/e]", at("/e"));
            see("[]", "/nowhere");
            see("[/e, /f]", base.substring(0, base.length() - 1));
        });
        about("ZooKeeper.getEphemerals(String,EphemeralsCallback,Object)", () -> {
            brief.run();
            see("OK context [/f]", at("/f"), CALLBACK, CONTEXT);
        });
        about("ZooKeeper.getEphemerals(EphemeralsCallback,Object)", () -> {
            brief.run();
            see("OK context [/e, /f]", CALLBACK, CONTEXT);
        });
        about("ZooKeeper.getConfig(Watcher,Stat)", () -> {
            Stat stat = new Stat();
            see("'server.1=HOST:P:P:participant;HOST:P\nversion=V'", null, stat);
            note(stat.getVersion() + " " + stat.getAversion() + " " + stat.getCversion() + " " + stat.getNumChildren() + " " + stat.getEphemeralOwner());
        });
        about("ZooKeeper.getConfig(boolean,Stat)", () -> see("'server.1=HOST:P:P:participant;HOST:P\nversion=V'", true, null));
        about("ZooKeeper.getConfig(Watcher,DataCallback,Object)", () -> note(shown(call(zk, new Told(), CALLBACK, CONTEXT)).replaceAll("length \\d+", "")));
        about("ZooKeeper.getConfig(boolean,DataCallback,Object)", () -> note(shown(call(zk, false, CALLBACK, CONTEXT)).replaceAll("length \\d+", "")));
    }

    static List<Op> good() {
        return Arrays.asList(Op.create(at("/m"), X, OPEN, CreateMode.PERSISTENT), Op.setData(at("/m"), bytes("one"), 0), Op.check(at("/m"), 1),
                Op.create(at("/m/s-"), X, OPEN, CreateMode.PERSISTENT_SEQUENTIAL), Op.delete(at("/m/s-0000000000"), 0),
                Op.create(at("/c"), X, OPEN, CreateMode.CONTAINER), Op.create(at("/t"), X, OPEN, CreateMode.PERSISTENT_WITH_TTL, 600_000L));
    }

    static List<Op> bad() {
        return Arrays.asList(Op.create(at("/n"), X, OPEN, CreateMode.PERSISTENT), Op.check(at("/n"), 7), Op.delete(at("/n"), -1));
    }

    /** Made and changed in one transaction. */
    static final String BOTH_AT_ONCE = SET.replace("changed", "new");
    static final String GOOD = "[created /m, set " + BOTH_AT_ONCE + ", CheckResult, created /m/s-0000000000, DeleteResult, created /c " + NEW + ", created /t " + NEW + "]";

    static void several() {
        about("ZooKeeper.multi(Iterable)", () -> {
            see(GOOD, good());
            see("!BADVERSION [error 0, error -103, error -2]", bad());
            see("[]", Collections.emptyList());
            see("[data 'one' " + BOTH_AT_ONCE.replace("1,0", "1,2") + ", children [], error -101]",
                    Arrays.asList(Op.getData(at("/m")), Op.getChildren(at("/m")), Op.getData(at("/none"))));
            see("!IllegalArgumentException", Arrays.asList(Op.getData(at("/m")), Op.delete(at("/m"), -1)));
        });
        about("ZooKeeper.multi(Iterable,MultiCallback,Object)", () -> {
            see("OK null context " + GOOD, good(), CALLBACK, CONTEXT);
            see("BADVERSION null context [error 0, error -103, error -2]", bad(), CALLBACK, CONTEXT);
        });
        about("ZooKeeper.transaction()", () -> {
            Transaction good = (Transaction) call(zk);
            good.create(at("/a"), X, OPEN, CreateMode.PERSISTENT).setData(at("/a"), bytes("one"), 0).check(at("/a"), 1);
            equal(shown(good.commit()), "[created /a, set " + BOTH_AT_ONCE + ", CheckResult]");
            Transaction removes = (Transaction) call(zk);
            BlockingQueue<String> answer = new ArrayBlockingQueue<>(1);
            removes.delete(at("/a"), 1).commit((code, path, context, results) -> answer.add(code + " " + path + " " + context + " " + shown(results)), CONTEXT);
            equal(answer.poll(PATIENCE, TimeUnit.SECONDS), "0 null context [DeleteResult]");
        });
    }

    static void watches() {
        about("ZooKeeper.addWatch(String,Watcher,AddWatchMode)", () -> {
            Told told = new Told();
            Told all = new Told();
            see("done", at("/a"), told, AddWatchMode.PERSISTENT);
            see("done", at("/a"), all, AddWatchMode.PERSISTENT_RECURSIVE);
            make("/a", "x");
            make("/a/b", "x");
            zk.setData(at("/a/b"), X, -1);
            zk.setData(at("/a"), X, -1);
            zk.delete(at("/a/b"), -1);
            zk.delete(at("/a"), -1);
            told.see("NodeCreated /a", "NodeChildrenChanged /a", "NodeDataChanged /a", "NodeChildrenChanged /a", "NodeDeleted /a");
            all.see("NodeCreated /a", "NodeCreated /a/b", "NodeDataChanged /a/b", "NodeDataChanged /a", "NodeDeleted /a/b", "NodeDeleted /a");
            told.seesNoMore(zk);
            all.seesNoMore(zk);
        });
        about("ZooKeeper.addWatch(String,AddWatchMode)", () -> {
            Told told = new Told();
            zk.register(told);
            see("done", base, AddWatchMode.PERSISTENT_RECURSIVE);
            make("/a", "x");
            zk.setData(base, X, -1);
            told.see("NodeCreated /a", "NodeDataChanged ");
        });
        about("ZooKeeper.addWatch(String,Watcher,AddWatchMode,VoidCallback,Object)", () -> {
            Told told = new Told();
            see("OK /a context", at("/a"), told, AddWatchMode.PERSISTENT, CALLBACK, CONTEXT);
            make("/a", "x");
            zk.setData(at("/a"), X, -1);
            told.see("NodeCreated /a", "NodeDataChanged /a");
        });
        about("ZooKeeper.addWatch(String,AddWatchMode,VoidCallback,Object)", () -> {
            Told told = new Told();
            zk.register(told);
            see("OK /a context", at("/a"), AddWatchMode.PERSISTENT_RECURSIVE, CALLBACK, CONTEXT);
            make("/a", "x");
            make("/a/b", "x");
            told.see("NodeCreated /a", "NodeCreated /a/b");
        });
        about("ZooKeeper.removeWatches(String,Watcher,WatcherType,boolean)", () -> {
            make("/a", "x");
            Told told = new Told();
            zk.getData(at("/a"), told, null);
            zk.getChildren(at("/a"), told);
            see("done", at("/a"), told, WatcherType.Data, false);
            told.see("DataWatchRemoved /a");
            zk.setData(at("/a"), X, -1);
            make("/a/b", "x");
            told.see("NodeChildrenChanged /a");
            see("!NOWATCHER /a", at("/a"), told, WatcherType.Any, false);
            zk.addWatch(at("/a"), told, AddWatchMode.PERSISTENT);
            see("done", at("/a"), told, WatcherType.Persistent, true);
            told.see("PersistentWatchRemoved /a");
            zk.addWatch(at("/a"), told, AddWatchMode.PERSISTENT_RECURSIVE);
            see("done", at("/a"), told, WatcherType.PersistentRecursive, false);
            told.see("PersistentWatchRemoved /a");
            zk.setData(at("/a"), X, -1);
            told.seesNoMore(zk);
        });
        about("ZooKeeper.removeWatches(String,Watcher,WatcherType,boolean,VoidCallback,Object)", () -> {
            make("/a", "x");
            Told told = new Told();
            zk.getChildren(at("/a"), told);
            see("OK /a context", at("/a"), told, WatcherType.Children, false, CALLBACK, CONTEXT);
            told.see("ChildWatchRemoved /a");
            see("NOWATCHER /a context", at("/a"), told, WatcherType.Children, false, CALLBACK, CONTEXT);
        });
        about("ZooKeeper.removeAllWatches(String,WatcherType,boolean)", () -> {
            make("/a", "x");
            Told one = new Told();
            Told two = new Told();
            zk.getData(at("/a"), one, null);
            zk.exists(at("/a"), two);
            zk.getChildren(at("/a"), two);
            see("done", at("/a"), WatcherType.Data, false);
            one.see("DataWatchRemoved /a");
            two.see("DataWatchRemoved /a");
            see("done", at("/a"), WatcherType.Any, false);
            two.see("ChildWatchRemoved /a");
            see("!NOWATCHER /a", at("/a"), WatcherType.Any, false);
        });
        about("ZooKeeper.removeAllWatches(String,WatcherType,boolean,VoidCallback,Object)", () -> {
            make("/a", "x");
            Told told = new Told();
            zk.addWatch(at("/a"), told, AddWatchMode.PERSISTENT);
            see("OK /a context", at("/a"), WatcherType.Any, false, CALLBACK, CONTEXT);
            told.see("PersistentWatchRemoved /a");
            see("NOWATCHER /a context", at("/a"), WatcherType.Any, true, CALLBACK, CONTEXT);
        });
    }

    static void sessions() {
        about("ZooKeeper.addAuthInfo(String,byte[])", () -> {
            see("done", "digest", bytes("ann:secret"));
            zk.create(at("/d"), X, ZooDefs.Ids.CREATOR_ALL_ACL, CreateMode.PERSISTENT);
            note(shown(zk.getACL(at("/d"), null)));
            ZooKeeper other = another();
            try {
                other.getData(at("/d"), false, null);
                note("read");
            } catch (KeeperException error) {
                equal(shown(error), "!NOAUTH /d");
            }
            note(shown(call(other, "digest", bytes("super:secret"))));
            equal(shown(other.getData(at("/d"), false, null)), "'x'");
            other.close();
            Told told = new Told();
            ZooKeeper wrong = new ZooKeeper(hosts, 30_000, told);
            told.see("SyncConnected");
            note(shown(call(wrong, "nonsense", X)));
            told.see("AuthFailed");
            wrong.close();
        });
        about("ZooKeeper.whoAmI()", () -> {
            see("[ip:127.0.0.1]");
            zk.addAuthInfo("digest", bytes("ann:secret"));
            zk.addAuthInfo("digest", bytes("bob:secret"));
            List<?> all = (List<?>) call(zk);
            equal(new TreeSet<>(all.stream().map(ClientCases::shown).collect(Collectors.toList())), "[digest:ann, digest:bob, ip:127.0.0.1]");
        });
        about("ZooKeeper.getSessionId()", () -> {
            zk.create(at("/e"), X, OPEN, CreateMode.EPHEMERAL);
            equal(call(zk).equals(zk.exists(at("/e"), false).getEphemeralOwner()), true);
        });
        about("ZooKeeper.getSessionPasswd()", () -> equal(((byte[]) call(zk)).length, 16));
        about("ZooKeeper.getSessionTimeout()", () -> {
            see("30000");
            for (int wish : new int[] {500, 100_000}) {
                Told told = new Told();
                ZooKeeper other = new ZooKeeper(hosts, wish, told);
                told.see("SyncConnected");
                note(call(other));
                other.close();
            }
        });
        about("ZooKeeper.register(Watcher)", () -> {
            Told told = new Told();
            see("done", told);
            zk.exists(at("/a"), true);
            make("/a", "x");
            told.see("NodeCreated /a");
        });
        about("ZooKeeper.updateServerList(String)", () -> {
            see("done", hosts + "," + hosts);
            see("!IllegalArgumentException", "");
            await("an answer, perhaps over another connection", () -> {
                try {
                    return zk.exists(base, false) != null;
                } catch (KeeperException.ConnectionLossException lost) {
                    return false;
                }
            });
        });
        about("ZooKeeper.getSaslClient()", () -> note(((ZooKeeperSaslClient) call(zk)).getConfigStatus()));
        about("ZooKeeper.getClientConfig()", () -> equal(((ZKClientConfig) call(zk)).getProperty("mine"), "yes"));
        about("ZooKeeper.getState()", () -> {
            see("CONNECTED");
            ZooKeeper other = another();
            other.close();
            equal(shown(call(other)), "CLOSED");
        });
        about("ZooKeeper.toString()", () -> equal(((String) call(zk)).contains("sessionid:0x" + Long.toHexString(zk.getSessionId())), true));
        about("ZooKeeper.getTestable()", () -> {
            Told told = new Told();
            ZooKeeper other = new ZooKeeper(hosts, 30_000, told);
            told.see("SyncConnected");
            ((Testable) call(other)).injectSessionExpiration();
            told.see("Expired");
            other.close();
        });
        about("ZooKeeper.close()", () -> {
            ZooKeeper other = another();
            other.create(at("/e"), X, OPEN, CreateMode.EPHEMERAL);
            Told told = new Told();
            equal(zk.exists(at("/e"), told) != null, true);
            note(shown(call(other)));
            told.see("NodeDeleted /e");
            note(shown(call(other)));
        });
        about("ZooKeeper.close(int)", () -> {
            ZooKeeper other = another();
            other.create(at("/e"), X, OPEN, CreateMode.EPHEMERAL);
            equal(call(other, 10_000), true);
            equal(zk.exists(at("/e"), false), null);
        });
    }

    /** A client made by the constructor of the case does its work. */
    static void made(Object... words) throws Exception {
        Told told = new Told();
        words[2] = told;
        ZooKeeper client = (ZooKeeper) call(null, words);
        try {
            told.see("SyncConnected");
            equal(shown(client.create(at("/made"), X, OPEN, CreateMode.EPHEMERAL)), "/made");
            note(shown(client.getState()));
        } finally {
            client.close();
        }
    }

    /** A client made by the constructor of the case takes up the session of another that lost its connection. */
    static void resumed(Object... words) throws Exception {
        ZooKeeper first = another();
        first.create(at("/e"), X, OPEN, CreateMode.EPHEMERAL);
        Told told = new Told();
        words[2] = told;
        words[3] = first.getSessionId();
        words[4] = first.getSessionPasswd();
        ZooKeeper second = (ZooKeeper) call(null, words);
        told.see("SyncConnected");
        equal(second.getSessionId() == first.getSessionId(), true);
        equal(second.exists(at("/e"), false).getEphemeralOwner() == second.getSessionId(), true);
        second.close();
        equal(zk.exists(at("/e"), false), null);
        first.close(1);
        // Nobody gets a session that is gone, or that is another's.
        Told refused = new Told();
        words[2] = refused;
        ZooKeeper third = (ZooKeeper) call(null, words);
        refused.see("Expired");
        third.close();
    }

    static HostProvider provider() throws Exception {
        int port = Integer.parseInt(hosts.split(":")[1]);
        return new StaticHostProvider(Collections.singletonList(new InetSocketAddress(InetAddress.getByName("127.0.0.1"), port)));
    }

    static void constructors() {
        ZKClientConfig config = new ZKClientConfig();
        about("ZooKeeper.new(String,int,Watcher)", () -> {
            made(hosts, 30_000, null);
            base = base + "/below";
            zk.create(base, X, OPEN, CreateMode.PERSISTENT);
            made(hosts + "/", 30_000, null);
            Told told = new Told();
            ZooKeeper rooted = (ZooKeeper) call(null, hosts + base, 30_000, told);
            told.see("SyncConnected");
            rooted.create("/a", X, OPEN, CreateMode.PERSISTENT);
            equal(shown(rooted.getChildren("/", false)), "[a]");
            equal(shown(zk.getChildren(base, false)), "[a]");
            rooted.close();
        });
        about("ZooKeeper.new(String,int,Watcher,ZKClientConfig)", () -> made(hosts, 30_000, null, config));
        about("ZooKeeper.new(String,int,Watcher,boolean)", () -> made(hosts, 30_000, null, true));
        about("ZooKeeper.new(String,int,Watcher,boolean,ZKClientConfig)", () -> made(hosts, 30_000, null, false, config));
        about("ZooKeeper.new(String,int,Watcher,boolean,HostProvider)", () -> made(hosts, 30_000, null, false, provider()));
        about("ZooKeeper.new(String,int,Watcher,boolean,HostProvider,ZKClientConfig)", () -> made(hosts, 30_000, null, true, provider(), config));
        about("ZooKeeper.new(String,int,Watcher,long,byte[])", () -> resumed(hosts, 30_000, null, 0L, null));
        about("ZooKeeper.new(String,int,Watcher,long,byte[],boolean)", () -> resumed(hosts, 30_000, null, 0L, null, false));
        about("ZooKeeper.new(String,int,Watcher,long,byte[],boolean,HostProvider)", () -> resumed(hosts, 30_000, null, 0L, null, false, provider()));
        about("ZooKeeper.new(String,int,Watcher,long,byte[],boolean,HostProvider,ZKClientConfig)",
                () -> resumed(hosts, 30_000, null, 0L, null, true, provider(), config));
        about("ZooKeeperAdmin.new(String,int,Watcher)", () -> made(hosts, 30_000, null));
        about("ZooKeeperAdmin.new(String,int,Watcher,ZKClientConfig)", () -> made(hosts, 30_000, null, config));
        about("ZooKeeperAdmin.new(String,int,Watcher,boolean)", () -> made(hosts, 30_000, null, true));
        about("ZooKeeperAdmin.new(String,int,Watcher,boolean,ZKClientConfig)", () -> made(hosts, 30_000, null, false, config));
    }

    /** An observer that need not be there. */
    static final String OBSERVER = "server.9=127.0.0.1:7:8:observer;127.0.0.1:9";
    static final String ONE = "'server.1=HOST:P:P:participant;HOST:P\nversion=V'";
    static final String BOTH = "'server.1=HOST:P:P:participant;HOST:P\nserver.9=HOST:P:P:observer;HOST:P\nversion=V'";

    /** Adds an observer and removes it, and is refused what cannot be. */
    static void changed(boolean lists, boolean later) throws Exception {
        Object added = lists ? Collections.singletonList(OBSERVER) : OBSERVER;
        Object removed = lists ? Collections.singletonList("9") : "9";
        Object nonsense = lists ? Collections.singletonList("server.9=nonsense") : "server.9=nonsense";
        Object[] tail = later ? new Object[] {CALLBACK, CONTEXT} : new Object[] {null};
        note(changing(added, null, null, -1L, tail));
        zk.addAuthInfo("digest", bytes("super:secret"));
        note(changing(added, null, null, 77L, tail));
        note(changing(nonsense, null, null, -1L, tail));
        note(changing(null, null, null, -1L, tail));
        Told told = new Told();
        zk.getConfig(told, new Stat());
        String made = changing(added, null, null, -1L, tail);
        equal(made.contains(BOTH) ? BOTH : made, BOTH);
        told.see("NodeDataChanged /zookeeper/config");
        made = changing(null, removed, null, -1L, tail);
        equal(made.contains(ONE) ? ONE : made, ONE);
        note(changing(null, lists ? Collections.singletonList("1") : "1", null, -1L, tail));
    }

    static String changing(Object joining, Object leaving, Object all, long version, Object[] tail) throws Exception {
        Object[] words = new Object[4 + tail.length];
        words[0] = joining;
        words[1] = leaving;
        words[2] = all;
        words[3] = version;
        System.arraycopy(tail, 0, words, 4, tail.length);
        return shown(call(zk, words)).replaceAll("length \\d+", "");
    }

    static void changes() {
        about("ZooKeeperAdmin.toString()", () -> equal(((String) call(zk)).contains("sessionid:0x" + Long.toHexString(zk.getSessionId())), true));
        about("ZooKeeperAdmin.reconfigure(String,String,String,long,Stat)", () -> changed(false, false));
        about("ZooKeeperAdmin.reconfigure(List,List,List,long,Stat)", () -> changed(true, false));
        about("ZooKeeperAdmin.reconfigure(String,String,String,long,DataCallback,Object)", () -> changed(false, true));
        about("ZooKeeperAdmin.reconfigure(List,List,List,long,DataCallback,Object)", () -> changed(true, true));
    }

    public static void main(String[] words) {
        hosts = words[words.length - 1];
        creates();
        reads();
        lists();
        several();
        watches();
        sessions();
        constructors();
        changes();
        for (Executable each : offered()) {
            if (!has(signature(each))) {
                missing(signature(each));
            }
        }
        Case before = () -> {
            base = "/case-" + count++;
            ZKClientConfig config = new ZKClientConfig();
            config.setProperty("mine", "yes");
            Told told = new Told();
            zk = new ZooKeeperAdmin(hosts, 30_000, told, config);
            told.see("SyncConnected");
            zk.create(base, X, OPEN, CreateMode.PERSISTENT);
        };
        boolean good = run(before, () -> zk.close());
        System.exit(good ? 0 : 1);
    }
}
