import java.io.File;
import java.lang.reflect.Constructor;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.Callable;
import java.util.concurrent.ConcurrentSkipListSet;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.jar.JarEntry;
import java.util.jar.JarFile;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.AfterConnectionEstablished;
import org.apache.curator.framework.recipes.atomic.AtomicValue;
import org.apache.curator.framework.recipes.atomic.CachedAtomicInteger;
import org.apache.curator.framework.recipes.atomic.CachedAtomicLong;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicInteger;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicLong;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicValue;
import org.apache.curator.framework.recipes.barriers.DistributedBarrier;
import org.apache.curator.framework.recipes.barriers.DistributedDoubleBarrier;
import org.apache.curator.framework.recipes.cache.CuratorCache;
import org.apache.curator.framework.recipes.cache.CuratorCacheBridge;
import org.apache.curator.framework.recipes.cache.CuratorCacheListener;
import org.apache.curator.framework.recipes.cache.NodeCache;
import org.apache.curator.framework.recipes.cache.PathChildrenCache;
import org.apache.curator.framework.recipes.cache.TreeCache;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.leader.LeaderSelector;
import org.apache.curator.framework.recipes.leader.LeaderSelectorListenerAdapter;
import org.apache.curator.framework.recipes.leader.Participant;
import org.apache.curator.framework.recipes.locks.InterProcessLock;
import org.apache.curator.framework.recipes.locks.InterProcessMultiLock;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.locks.InterProcessReadWriteLock;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphore;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreMutex;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreV2;
import org.apache.curator.framework.recipes.locks.Lease;
import org.apache.curator.framework.recipes.locks.LockInternals;
import org.apache.curator.framework.recipes.locks.Revoker;
import org.apache.curator.framework.recipes.locks.StandardLockInternalsDriver;
import org.apache.curator.framework.recipes.nodes.GroupMember;
import org.apache.curator.framework.recipes.nodes.PersistentEphemeralNode;
import org.apache.curator.framework.recipes.nodes.PersistentNode;
import org.apache.curator.framework.recipes.nodes.PersistentTtlNode;
import org.apache.curator.framework.recipes.queue.DistributedDelayQueue;
import org.apache.curator.framework.recipes.queue.DistributedIdQueue;
import org.apache.curator.framework.recipes.queue.DistributedPriorityQueue;
import org.apache.curator.framework.recipes.queue.DistributedQueue;
import org.apache.curator.framework.recipes.queue.QueueAllocator;
import org.apache.curator.framework.recipes.queue.QueueBuilder;
import org.apache.curator.framework.recipes.queue.QueueConsumer;
import org.apache.curator.framework.recipes.queue.QueueSerializer;
import org.apache.curator.framework.recipes.queue.QueueSharder;
import org.apache.curator.framework.recipes.queue.QueueSharderPolicies;
import org.apache.curator.framework.recipes.queue.SimpleDistributedQueue;
import org.apache.curator.framework.recipes.shared.SharedCount;
import org.apache.curator.framework.recipes.shared.SharedCountListener;
import org.apache.curator.framework.recipes.shared.SharedCountReader;
import org.apache.curator.framework.recipes.shared.SharedValue;
import org.apache.curator.framework.recipes.watch.PersistentWatcher;
import org.apache.curator.framework.state.ConnectionState;
import org.apache.curator.retry.RetryNTimes;
import org.apache.curator.retry.RetryOneTime;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.ZooKeeper;

/** Every recipe of Curator, found by reflection, does its job for two clients of one server. */
@SuppressWarnings("deprecation")
public final class CuratorCases extends Cases {
    static final String RECIPES = "org/apache/curator/framework/recipes/";

    static String hosts;
    static CuratorFramework one;
    static CuratorFramework two;
    /** A path of the case's own; nothing is there yet. */
    static String path;
    static int count;
    static ExecutorService threads = Executors.newCachedThreadPool(task -> {
        Thread thread = new Thread(task);
        thread.setDaemon(true);
        return thread;
    });

    static CuratorFramework client() {
        CuratorFramework client = CuratorFrameworkFactory.newClient(hosts, 20_000, 15_000, new RetryNTimes(20, 100));
        client.start();
        return client;
    }

    /** Ends a client's session at the server, as if it had expired. */
    static void expire(CuratorFramework client) throws Exception {
        ZooKeeper zk = client.getZookeeperClient().getZooKeeper();
        CountDownLatch connected = new CountDownLatch(1);
        ZooKeeper again = new ZooKeeper(hosts, 20_000, event -> connected.countDown(), zk.getSessionId(), zk.getSessionPasswd());
        connected.await(PATIENCE, TimeUnit.SECONDS);
        again.close();
    }

    static <T> Future<T> later(Callable<T> task) {
        return threads.submit(task);
    }

    static <T> T got(Future<T> future) throws Exception {
        return future.get(PATIENCE, TimeUnit.SECONDS);
    }

    static String data(CuratorFramework client, String at) throws Exception {
        return new String(client.getData().forPath(at));
    }

    static boolean there(String at) throws Exception {
        return two.checkExists().forPath(at) != null;
    }

    /** Whoever holds the lock is alone: a counter without guard of its own loses nothing. */
    static void excludes(InterProcessLock first, InterProcessLock second) throws Exception {
        int[] counter = {0};
        AtomicInteger inside = new AtomicInteger();
        List<Future<Integer>> all = new ArrayList<>();
        for (InterProcessLock lock : Arrays.asList(first, second)) {
            all.add(later(() -> {
                int most = 0;
                for (int round = 0; round < 15; round++) {
                    lock.acquire();
                    most = Math.max(most, inside.incrementAndGet());
                    counter[0]++;
                    inside.decrementAndGet();
                    lock.release();
                }
                return most;
            }));
        }
        for (Future<Integer> each : all) {
            equal(got(each), 1);
        }
        equal(counter[0], 30);
        first.acquire();
        equal(got(later(() -> second.acquire(200, TimeUnit.MILLISECONDS))), false);
        Future<Boolean> waits = later(() -> {
            boolean held = second.acquire(PATIENCE, TimeUnit.SECONDS);
            second.release();
            return held;
        });
        first.release();
        equal(got(waits), true);
    }

    static void locks() {
        on("InterProcessMutex", () -> {
            InterProcessMutex first = new InterProcessMutex(one, path);
            excludes(first, new InterProcessMutex(two, path));
            first.acquire();
            first.acquire();
            equal(first.isOwnedByCurrentThread(), true);
            first.release();
            equal(first.isAcquiredInThisProcess(), true);
            equal(first.getParticipantNodes().size(), 1);
            first.release();
            equal(first.isAcquiredInThisProcess(), false);
        });
        on("InterProcessMutex: its holder's session ends", () -> {
            InterProcessMutex first = new InterProcessMutex(one, path);
            InterProcessMutex second = new InterProcessMutex(two, path);
            first.acquire();
            Future<Boolean> waits = later(() -> second.acquire(PATIENCE, TimeUnit.SECONDS));
            expire(one);
            equal(got(waits), true);
        });
        on("LockInternals", () -> {
            new InterProcessMutex(one, path).acquire();
            equal(LockInternals.getParticipantNodes(two, path, "lock-", new StandardLockInternalsDriver()).size(), 1);
        });
        on("Revoker", () -> {
            InterProcessMutex first = new InterProcessMutex(one, path);
            CountDownLatch asked = new CountDownLatch(1);
            first.makeRevocable(mutex -> asked.countDown());
            first.acquire();
            Revoker.attemptRevoke(two, new ArrayList<>(first.getParticipantNodes()).get(0));
            equal(asked.await(PATIENCE, TimeUnit.SECONDS), true);
            first.release();
        });
        on("InterProcessReadWriteLock", () -> {
            InterProcessReadWriteLock first = new InterProcessReadWriteLock(one, path);
            InterProcessReadWriteLock second = new InterProcessReadWriteLock(two, path);
            excludes(first.writeLock(), second.writeLock());
            first.readLock().acquire();
            equal(got(later(() -> {
                boolean held = second.readLock().acquire(PATIENCE, TimeUnit.SECONDS);
                second.readLock().release();
                return held;
            })), true);
            equal(got(later(() -> second.writeLock().acquire(200, TimeUnit.MILLISECONDS))), false);
            first.readLock().release();
            equal(got(later(() -> second.writeLock().acquire(PATIENCE, TimeUnit.SECONDS))), true);
            equal(first.readLock().acquire(200, TimeUnit.MILLISECONDS), false);
        });
        on("InterProcessSemaphoreMutex", () -> excludes(new InterProcessSemaphoreMutex(one, path), new InterProcessSemaphoreMutex(two, path)));
        on("InterProcessMultiLock", () -> {
            List<String> paths = Arrays.asList(path + "/a", path + "/b");
            excludes(new InterProcessMultiLock(one, paths), new InterProcessMultiLock(two, paths));
            InterProcessMultiLock both = new InterProcessMultiLock(one, paths);
            both.acquire();
            InterProcessMutex part = new InterProcessMutex(two, path + "/b");
            equal(part.acquire(200, TimeUnit.MILLISECONDS), false);
            both.release();
            equal(part.acquire(PATIENCE, TimeUnit.SECONDS), true);
        });
        on("InterProcessSemaphore", () -> {
            InterProcessSemaphore first = new InterProcessSemaphore(one, path, 3);
            InterProcessSemaphore second = new InterProcessSemaphore(two, path, 3);
            Collection<Lease> held = first.acquire(2);
            Lease last = second.acquire();
            equal(second.acquire(200, TimeUnit.MILLISECONDS) == null, true);
            first.returnAll(held);
            Lease more = second.acquire(PATIENCE, TimeUnit.SECONDS);
            equal(more != null, true);
            second.returnLease(more);
            second.returnLease(last);
        });
        on("InterProcessSemaphoreV2", () -> {
            SharedCount leases = new SharedCount(one, path + "/count", 2);
            leases.start();
            InterProcessSemaphoreV2 first = new InterProcessSemaphoreV2(one, path + "/s", leases);
            InterProcessSemaphoreV2 second = new InterProcessSemaphoreV2(two, path + "/s", 2);
            Collection<Lease> held = first.acquire(2);
            equal(held.size(), 2);
            equal(second.acquire(200, TimeUnit.MILLISECONDS) == null, true);
            equal(second.getParticipantNodes().size(), 2);
            Future<Lease> waits = later(() -> second.acquire(PATIENCE, TimeUnit.SECONDS));
            Lease gone = held.iterator().next();
            equal(new String(gone.getData()).isEmpty(), false);
            first.returnLease(gone);
            equal(got(waits) != null, true);
            leases.close();
        });
    }

    static void leaders() {
        on("LeaderLatch", () -> {
            LeaderLatch first = new LeaderLatch(one, path, "first");
            LeaderLatch second = new LeaderLatch(two, path, "second");
            first.start();
            equal(first.await(PATIENCE, TimeUnit.SECONDS), true);
            second.start();
            await("both are listed", () -> second.getParticipants().size() == 2);
            equal(second.getLeader().getId(), "first");
            equal(second.hasLeadership(), false);
            first.close();
            equal(second.await(PATIENCE, TimeUnit.SECONDS), true);
            equal(second.getLeader().getId(), "second");
            second.close();
            equal(two.getChildren().forPath(path), "[]");
        });
        on("LeaderLatch: the leader's session ends", () -> {
            LeaderLatch first = new LeaderLatch(one, path, "first");
            LeaderLatch second = new LeaderLatch(two, path, "second");
            first.start();
            first.await();
            second.start();
            await("both are listed", () -> second.getParticipants().size() == 2);
            expire(one);
            equal(second.await(PATIENCE, TimeUnit.SECONDS), true);
            await("the first is back in the row", () -> second.getParticipants().size() == 2 && !first.hasLeadership());
            second.close();
            equal(first.await(PATIENCE, TimeUnit.SECONDS), true);
            first.close();
        });
        on("LeaderSelector", () -> {
            List<String> led = new CopyOnWriteArrayList<>();
            AtomicInteger inside = new AtomicInteger();
            CountDownLatch turns = new CountDownLatch(6);
            List<LeaderSelector> all = new ArrayList<>();
            for (CuratorFramework each : Arrays.asList(one, two)) {
                String name = each == one ? "one" : "two";
                LeaderSelector selector = new LeaderSelector(each, path, new LeaderSelectorListenerAdapter() {
                    @Override
                    public void takeLeadership(CuratorFramework client) throws Exception {
                        led.add(inside.incrementAndGet() == 1 ? name : "not alone");
                        Thread.sleep(20);
                        inside.decrementAndGet();
                        turns.countDown();
                    }
                });
                selector.autoRequeue();
                selector.setId(name);
                selector.start();
                all.add(selector);
            }
            equal(turns.await(PATIENCE, TimeUnit.SECONDS), true);
            for (LeaderSelector each : all) {
                each.close();
            }
            equal(new TreeSet<>(led), "[one, two]");
        });
        on("LeaderSelector: is interrupted", () -> {
            CountDownLatch leads = new CountDownLatch(1);
            CountDownLatch interrupted = new CountDownLatch(1);
            LeaderSelector selector = new LeaderSelector(one, path, new LeaderSelectorListenerAdapter() {
                @Override
                public void takeLeadership(CuratorFramework client) {
                    leads.countDown();
                    try {
                        Thread.sleep(PATIENCE * 1000L);
                    } catch (InterruptedException stopped) {
                        interrupted.countDown();
                    }
                }
            });
            selector.setId("one");
            selector.start();
            equal(leads.await(PATIENCE, TimeUnit.SECONDS), true);
            Participant leader = selector.getLeader();
            equal(leader.getId() + " " + leader.isLeader(), "one true");
            selector.interruptLeadership();
            equal(interrupted.await(PATIENCE, TimeUnit.SECONDS), true);
            selector.close();
        });
    }

    static void counts() {
        on("DistributedAtomicLong", () -> {
            List<Future<Integer>> all = new ArrayList<>();
            for (CuratorFramework each : Arrays.asList(one, two)) {
                all.add(later(() -> {
                    DistributedAtomicLong value = new DistributedAtomicLong(each, path, new RetryNTimes(200, 1));
                    int done = 0;
                    while (done < 20) {
                        done += value.increment().succeeded() ? 1 : 0;
                    }
                    return done;
                }));
            }
            for (Future<Integer> each : all) {
                equal(got(each), 20);
            }
            DistributedAtomicLong value = new DistributedAtomicLong(one, path, new RetryOneTime(1));
            equal(value.get().postValue(), 40);
            equal(value.subtract(5L).postValue(), 35);
            AtomicValue<Long> refused = value.compareAndSet(7L, 8L);
            equal(refused.succeeded() + " " + refused.preValue(), "false 35");
            equal(value.trySet(3L).postValue(), 3);
            equal(value.initialize(9L), false);
        });
        on("DistributedAtomicInteger", () -> {
            DistributedAtomicInteger first = new DistributedAtomicInteger(one, path, new RetryOneTime(1));
            equal(first.initialize(5), true);
            DistributedAtomicInteger second = new DistributedAtomicInteger(two, path, new RetryOneTime(1));
            equal(second.add(2).postValue(), 7);
            equal(first.decrement().postValue(), 6);
            first.forceSet(1);
            equal(second.get().postValue(), 1);
        });
        on("DistributedAtomicValue", () -> {
            DistributedAtomicValue first = new DistributedAtomicValue(one, path, new RetryOneTime(1));
            equal(first.initialize(bytes("a")), true);
            DistributedAtomicValue second = new DistributedAtomicValue(two, path, new RetryOneTime(1));
            equal(second.compareAndSet(bytes("x"), bytes("b")).succeeded(), false);
            equal(second.compareAndSet(bytes("a"), bytes("b")).succeeded(), true);
            equal(new String(first.get().postValue()), "b");
        });
        on("CachedAtomicLong", () -> {
            CachedAtomicLong first = new CachedAtomicLong(new DistributedAtomicLong(one, path, new RetryNTimes(50, 5)), 10);
            CachedAtomicLong second = new CachedAtomicLong(new DistributedAtomicLong(two, path, new RetryNTimes(50, 5)), 10);
            equal(first.next().postValue() + " " + second.next().postValue() + " " + first.next().postValue(), "1 11 2");
        });
        on("CachedAtomicInteger", () -> {
            CachedAtomicInteger first = new CachedAtomicInteger(new DistributedAtomicInteger(one, path, new RetryNTimes(50, 5)), 3);
            for (int wanted = 1; wanted < 5; wanted++) {
                equal(first.next().postValue(), wanted);
            }
        });
        on("SharedCount", () -> {
            SharedCount first = new SharedCount(one, path, 7);
            SharedCount second = new SharedCount(two, path, 0);
            List<Integer> seen = new CopyOnWriteArrayList<>();
            first.start();
            second.start();
            equal(second.getCount(), 7);
            second.addListener(new SharedCountListener() {
                @Override
                public void countHasChanged(SharedCountReader count, int value) {
                    seen.add(value);
                }

                @Override
                public void stateChanged(CuratorFramework client, ConnectionState state) {
                    // Only values matter.
                }
            });
            first.setCount(8);
            await("the other is told", () -> seen.contains(8));
            equal(second.trySetCount(second.getVersionedValue(), 9), true);
            await("the first sees it", () -> first.getCount() == 9);
            first.close();
            second.close();
        });
        on("SharedValue", () -> {
            SharedValue first = new SharedValue(one, path, bytes("a"));
            SharedValue second = new SharedValue(two, path, bytes("z"));
            first.start();
            second.start();
            equal(new String(second.getValue()), "a");
            first.setValue(bytes("b"));
            await("the other sees it", () -> new String(second.getValue()).equals("b"));
            equal(second.trySetValue(second.getVersionedValue(), bytes("c")), true);
            equal(data(one, path), "c");
            first.close();
            second.close();
        });
        on("DistributedBarrier", () -> {
            DistributedBarrier first = new DistributedBarrier(one, path);
            DistributedBarrier second = new DistributedBarrier(two, path);
            first.setBarrier();
            equal(second.waitOnBarrier(200, TimeUnit.MILLISECONDS), false);
            Future<Boolean> waits = later(() -> second.waitOnBarrier(PATIENCE, TimeUnit.SECONDS));
            first.removeBarrier();
            equal(got(waits), true);
        });
        on("DistributedDoubleBarrier", () -> {
            DistributedDoubleBarrier first = new DistributedDoubleBarrier(one, path, 2);
            DistributedDoubleBarrier second = new DistributedDoubleBarrier(two, path, 2);
            Future<Boolean> enters = later(() -> first.enter(PATIENCE, TimeUnit.SECONDS));
            equal(second.enter(PATIENCE, TimeUnit.SECONDS), true);
            equal(got(enters), true);
            Future<Boolean> leaves = later(() -> first.leave(PATIENCE, TimeUnit.SECONDS));
            equal(second.leave(PATIENCE, TimeUnit.SECONDS), true);
            equal(got(leaves), true);
        });
        on("AfterConnectionEstablished", () -> {
            CountDownLatch ran = new CountDownLatch(1);
            AfterConnectionEstablished.execute(one, ran::countDown);
            equal(ran.await(PATIENCE, TimeUnit.SECONDS), true);
        });
    }

    /** What two clients do to a tree that caches look at. */
    static void change() throws Exception {
        two.create().forPath(path + "/a", bytes("1"));
        two.create().forPath(path + "/a/b", bytes("2"));
        two.setData().forPath(path + "/a", bytes("3"));
        two.create().forPath(path + "/c", bytes("4"));
        two.delete().forPath(path + "/c");
    }

    static void caches() {
        on("CuratorCache", () -> {
            one.create().forPath(path, bytes("0"));
            CuratorCache cache = CuratorCache.build(one, path);
            Set<String> seen = new ConcurrentSkipListSet<>();
            CountDownLatch ready = new CountDownLatch(1);
            cache.listenable().addListener(CuratorCacheListener.builder().forCreates(node -> seen.add("created " + node.getPath()))
                    .forDeletes(node -> seen.add("deleted " + node.getPath())).forChanges((old, node) -> seen.add("changed " + node.getPath() + " " + new String(node.getData())))
                    .forInitialized(ready::countDown).build());
            cache.start();
            equal(ready.await(PATIENCE, TimeUnit.SECONDS), true);
            // What is made and gone at once a cache need not see: each step waits for its turn.
            two.create().forPath(path + "/a", bytes("1"));
            await("a node is seen", () -> seen.contains("created " + path + "/a"));
            two.setData().forPath(path + "/a", bytes("3"));
            await("its change is seen", () -> seen.contains("changed " + path + "/a 3"));
            two.create().forPath(path + "/a/b", bytes("2"));
            two.create().forPath(path + "/c", bytes("4"));
            await("more nodes are seen", () -> seen.contains("created " + path + "/a/b") && seen.contains("created " + path + "/c"));
            two.delete().forPath(path + "/c");
            await("the end of one is seen", () -> seen.contains("deleted " + path + "/c") && !cache.get(path + "/c").isPresent());
            for (String each : seen) {
                note(each.replace(path, ""));
            }
            equal(cache.size(), 3);
            cache.close();
        });
        on("CuratorCache: a bridge to its predecessors", () -> {
            one.create().forPath(path, bytes("0"));
            CuratorCacheBridge cache = CuratorCache.bridgeBuilder(one, path).build();
            cache.start();
            change();
            await("all is seen", () -> cache.get(path + "/a/b").isPresent() && new String(cache.get(path + "/a").get().getData()).equals("3")
                    && !cache.get(path + "/c").isPresent());
            equal(cache.size(), 3);
            cache.close();
        });
        on("CuratorCache: its client's session ends", () -> {
            one.create().forPath(path, bytes("0"));
            CuratorCache cache = CuratorCache.build(one, path);
            cache.start();
            await("the root is seen", () -> cache.get(path).isPresent());
            expire(one);
            change();
            await("all is seen", () -> cache.get(path + "/a/b").isPresent() && !cache.get(path + "/c").isPresent());
            equal(cache.size(), 3);
            cache.close();
        });
        on("NodeCache", () -> {
            NodeCache cache = new NodeCache(one, path);
            AtomicInteger told = new AtomicInteger();
            cache.getListenable().addListener(told::incrementAndGet);
            cache.start(true);
            equal(cache.getCurrentData(), null);
            two.create().forPath(path, bytes("1"));
            await("it is there", () -> cache.getCurrentData() != null);
            two.setData().forPath(path, bytes("2"));
            await("it is changed", () -> new String(cache.getCurrentData().getData()).equals("2"));
            two.delete().forPath(path);
            await("it is gone", () -> cache.getCurrentData() == null && told.get() >= 3);
            cache.close();
        });
        on("PathChildrenCache", () -> {
            one.create().forPath(path);
            PathChildrenCache cache = new PathChildrenCache(one, path, true);
            List<String> seen = new CopyOnWriteArrayList<>();
            cache.getListenable().addListener((client, event) -> seen.add(event.getType() + (event.getData() == null ? "" : event.getData().getPath().replace(path, ""))));
            cache.start(PathChildrenCache.StartMode.POST_INITIALIZED_EVENT);
            await("it is initialised", () -> seen.contains("INITIALIZED"));
            two.create().forPath(path + "/a", bytes("1"));
            await("a child is seen", () -> seen.contains("CHILD_ADDED/a"));
            two.setData().forPath(path + "/a", bytes("2"));
            await("its change is seen", () -> seen.contains("CHILD_UPDATED/a") && new String(cache.getCurrentData(path + "/a").getData()).equals("2"));
            two.delete().forPath(path + "/a");
            await("its end is seen", () -> seen.contains("CHILD_REMOVED/a"));
            equal(cache.getCurrentData(), "[]");
            cache.close();
        });
        on("TreeCache", () -> {
            one.create().forPath(path, bytes("0"));
            TreeCache cache = TreeCache.newBuilder(one, path).setCacheData(true).build();
            Set<String> seen = new ConcurrentSkipListSet<>();
            cache.getListenable().addListener((client, event) -> seen.add(event.getType() + (event.getData() == null ? "" : event.getData().getPath().replace(path, ""))));
            cache.start();
            await("it is initialised", () -> seen.contains("INITIALIZED"));
            two.create().forPath(path + "/a", bytes("1"));
            two.create().forPath(path + "/a/b", bytes("2"));
            await("nodes are seen", () -> seen.contains("NODE_ADDED/a/b"));
            two.setData().forPath(path + "/a", bytes("3"));
            await("the change is seen", () -> seen.contains("NODE_UPDATED/a") && new String(cache.getCurrentData(path + "/a").getData()).equals("3"));
            equal(cache.getCurrentChildren(path + "/a").keySet(), "[b]");
            two.delete().deletingChildrenIfNeeded().forPath(path + "/a");
            await("the end is seen", () -> seen.contains("NODE_REMOVED/a") && cache.getCurrentChildren(path).isEmpty());
            cache.close();
        });
        on("PersistentWatcher", () -> {
            PersistentWatcher watcher = new PersistentWatcher(one, path, true);
            List<String> seen = new CopyOnWriteArrayList<>();
            CountDownLatch set = new CountDownLatch(1);
            watcher.getResetListenable().addListener(set::countDown);
            watcher.getListenable().addListener(event -> seen.add(event.getType() + " " + String.valueOf(event.getPath()).replace(path, "")));
            watcher.start();
            equal(set.await(PATIENCE, TimeUnit.SECONDS), true);
            two.create().forPath(path, bytes("0"));
            change();
            await("all is seen", () -> seen.contains("NodeDeleted /c"));
            equal(seen, "[NodeCreated , NodeCreated /a, NodeCreated /a/b, NodeDataChanged /a, NodeCreated /c, NodeDeleted /c]");
            watcher.close();
        });
    }

    static void nodes() {
        on("PersistentNode", () -> {
            PersistentNode node = new PersistentNode(one, CreateMode.EPHEMERAL, false, path, bytes("a"));
            node.start();
            equal(node.waitForInitialCreate(PATIENCE, TimeUnit.SECONDS), true);
            equal(data(two, path), "a");
            two.delete().forPath(path);
            await("it is back", () -> there(path));
            node.setData(bytes("b"));
            await("its new data is there", () -> there(path) && data(two, path).equals("b"));
            long owner = two.checkExists().forPath(path).getEphemeralOwner();
            expire(one);
            await("it is back, in another session", () -> there(path) && two.checkExists().forPath(path).getEphemeralOwner() != owner);
            equal(data(two, path), "b");
            node.close();
            equal(there(path), false);
        });
        on("PersistentEphemeralNode", () -> {
            PersistentEphemeralNode node = new PersistentEphemeralNode(one, PersistentEphemeralNode.Mode.EPHEMERAL_SEQUENTIAL, path + "-", bytes("a"));
            node.start();
            equal(node.waitForInitialCreate(PATIENCE, TimeUnit.SECONDS), true);
            String actual = node.getActualPath();
            equal(actual.matches(path + "-\\d{10}"), true);
            two.delete().forPath(actual);
            await("it is back", () -> there(actual));
            node.close();
            equal(there(actual), false);
        });
        on("PersistentTtlNode", () -> {
            PersistentTtlNode node = new PersistentTtlNode(one, path, 4_000, bytes("a"));
            node.start();
            equal(node.waitForInitialCreate(PATIENCE, TimeUnit.SECONDS), true);
            two.create().forPath(path + "/child");
            two.delete().forPath(path + "/child");
            Thread.sleep(6_000);
            equal(data(two, path), "a");
            node.close();
            await("without its client it lives its time", () -> !there(path));
        });
        on("GroupMember", () -> {
            GroupMember first = new GroupMember(one, path, "first", bytes("1"));
            GroupMember second = new GroupMember(two, path, "second", bytes("2"));
            first.start();
            second.start();
            await("each sees both", () -> first.getCurrentMembers().size() == 2 && second.getCurrentMembers().size() == 2);
            equal(new TreeSet<>(first.getCurrentMembers().keySet()), "[first, second]");
            equal(new String(first.getCurrentMembers().get("second")), "2");
            second.close();
            await("the first is alone", () -> first.getCurrentMembers().size() == 1);
            first.close();
        });
    }

    static final QueueSerializer<String> TEXT = new QueueSerializer<String>() {
        @Override
        public byte[] serialize(String item) {
            return bytes(item);
        }

        @Override
        public String deserialize(byte[] data) {
            return new String(data);
        }
    };

    /** Keeps what it takes. */
    static final class Taker implements QueueConsumer<String> {
        final List<String> taken = new CopyOnWriteArrayList<>();

        @Override
        public void consumeMessage(String message) {
            taken.add(message);
        }

        @Override
        public void stateChanged(CuratorFramework client, ConnectionState state) {
            // Only items matter.
        }
    }

    static void queues() {
        on("DistributedQueue", () -> {
            Taker taker = new Taker();
            DistributedQueue<String> in = QueueBuilder.builder(one, null, TEXT, path).buildQueue();
            DistributedQueue<String> out = QueueBuilder.builder(two, taker, TEXT, path).lockPath(path + "-locks").buildQueue();
            in.start();
            for (int item = 0; item < 10; item++) {
                in.put("" + item);
            }
            in.flushPuts(PATIENCE, TimeUnit.SECONDS);
            out.start();
            await("all is taken", () -> taker.taken.size() == 10);
            equal(new TreeSet<>(taker.taken), "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]");
            await("nothing is left", () -> two.getChildren().forPath(path).isEmpty());
            in.close();
            out.close();
        });
        on("QueueBuilder", () -> {
            DistributedQueue<String> queue = QueueBuilder.builder(one, null, TEXT, path).maxItems(1).putInBackground(false).buildQueue();
            queue.start();
            equal(queue.put("a", 1, TimeUnit.SECONDS), true);
            await("it is there", () -> two.getChildren().forPath(path).size() == 1);
            // The bound is loose until the queue has seen its own items.
            await("it is full", () -> !queue.put("b", 300, TimeUnit.MILLISECONDS));
            queue.close();
        });
        on("DistributedIdQueue", () -> {
            Taker taker = new Taker();
            DistributedIdQueue<String> in = QueueBuilder.builder(one, null, TEXT, path).buildIdQueue();
            in.start();
            in.put("a", "id-a");
            in.put("b", "id-b");
            in.put("c", "id-a");
            in.flushPuts(PATIENCE, TimeUnit.SECONDS);
            equal(in.remove("id-a"), 2);
            DistributedIdQueue<String> out = QueueBuilder.builder(two, taker, TEXT, path).buildIdQueue();
            out.start();
            await("the rest is taken", () -> taker.taken.size() == 1);
            equal(taker.taken, "[b]");
            in.close();
            out.close();
        });
        on("DistributedPriorityQueue", () -> {
            Taker taker = new Taker();
            DistributedPriorityQueue<String> in = QueueBuilder.builder(one, null, TEXT, path).buildPriorityQueue(0);
            in.start();
            in.put("late", 9);
            in.put("soon", 1);
            in.put("between", 5);
            in.flushPuts(PATIENCE, TimeUnit.SECONDS);
            ExecutorService alone = Executors.newSingleThreadExecutor();
            DistributedPriorityQueue<String> out = QueueBuilder.builder(two, taker, TEXT, path).executor(alone).buildPriorityQueue(0);
            out.start();
            await("all is taken", () -> taker.taken.size() == 3);
            equal(taker.taken, "[soon, between, late]");
            in.close();
            out.close();
            alone.shutdown();
        });
        on("DistributedDelayQueue", () -> {
            Taker taker = new Taker();
            DistributedDelayQueue<String> in = QueueBuilder.builder(one, null, TEXT, path).buildDelayQueue();
            DistributedDelayQueue<String> out = QueueBuilder.builder(two, taker, TEXT, path).buildDelayQueue();
            in.start();
            out.start();
            long due = System.currentTimeMillis() + 1_500;
            in.put("late", due);
            in.put("now", System.currentTimeMillis());
            await("the first is taken", () -> taker.taken.contains("now"));
            await("all is taken", () -> taker.taken.size() == 2);
            equal(System.currentTimeMillis() >= due, true);
            equal(taker.taken, "[now, late]");
            in.close();
            out.close();
        });
        on("SimpleDistributedQueue", () -> {
            SimpleDistributedQueue first = new SimpleDistributedQueue(one, path);
            SimpleDistributedQueue second = new SimpleDistributedQueue(two, path);
            Future<byte[]> waits = later(() -> second.poll(PATIENCE, TimeUnit.SECONDS));
            first.offer(bytes("a"));
            equal(new String(got(waits)), "a");
            first.offer(bytes("b"));
            first.offer(bytes("c"));
            equal(new String(second.peek()) + new String(second.take()) + new String(second.remove()), "bbc");
            equal(second.poll(), null);
        });
        on("QueueSharder", () -> {
            Taker taker = new Taker();
            QueueAllocator<String, DistributedQueue<String>> allocator = (client, at) -> QueueBuilder.builder(client, taker, TEXT, at).buildQueue();
            QueueSharderPolicies policies = QueueSharderPolicies.builder().newQueueThreshold(1_000_000).build();
            QueueSharder<String, DistributedQueue<String>> sharder = new QueueSharder<>(one, allocator, path + "/queues", path + "/leader", policies);
            sharder.start();
            for (int item = 0; item < 5; item++) {
                sharder.getQueue().put("" + item);
            }
            await("all is taken", () -> taker.taken.size() == 5);
            equal(sharder.getShardQty() + " " + sharder.getQueuePaths().size(), "1 1");
            sharder.close();
        });
    }

    /** The public classes that are made from a client, or by the builder of queues. */
    static Set<String> offered() throws Exception {
        Set<String> all = new TreeSet<>();
        for (Method method : QueueBuilder.class.getMethods()) {
            if (method.getName().startsWith("build") && !Modifier.isStatic(method.getModifiers())) {
                all.add(method.getReturnType().getSimpleName());
            }
        }
        File jar = new File(LeaderLatch.class.getProtectionDomain().getCodeSource().getLocation().toURI());
        try (JarFile file = new JarFile(jar)) {
            for (JarEntry entry : Collections.list(file.entries())) {
                String name = entry.getName();
                if (!name.startsWith(RECIPES) || !name.endsWith(".class") || name.contains("$")) {
                    continue;
                }
                Class<?> found = Class.forName(name.substring(0, name.length() - ".class".length()).replace('/', '.'));
                if (Modifier.isPublic(found.getModifiers()) && fromClient(found)) {
                    all.add(found.getSimpleName());
                }
            }
        }
        return all;
    }

    static boolean fromClient(Class<?> found) {
        for (Constructor<?> each : found.getConstructors()) {
            if (Arrays.asList(each.getParameterTypes()).contains(CuratorFramework.class) && !Modifier.isAbstract(found.getModifiers())) {
                return true;
            }
        }
        for (Method each : found.getDeclaredMethods()) {
            if (Modifier.isStatic(each.getModifiers()) && Modifier.isPublic(each.getModifiers()) && Arrays.asList(each.getParameterTypes()).contains(CuratorFramework.class)) {
                return true;
            }
        }
        return false;
    }

    public static void main(String[] words) throws Exception {
        hosts = words[words.length - 1];
        locks();
        leaders();
        counts();
        caches();
        nodes();
        queues();
        for (String each : offered()) {
            if (!has(each)) {
                missing(each);
            }
        }
        Case before = () -> {
            path = "/case-" + count++;
            one = client();
            two = client();
        };
        boolean good = run(before, () -> {
            one.close();
            two.close();
        });
        System.exit(good ? 0 : 1);
    }
}
