/* The calls with which a program of one thread drives Apache ZooKeeper's C client by itself. */

#include <poll.h>
#include <sys/time.h>

#include "shared.h"

static zhandle_t *zh;
static int answers;
static char answer[256];

static void watcher(zhandle_t *of, int type, int state, const char *path, void *context) {
    (void)of, (void)type, (void)state, (void)path, (void)context;
}

static void on_string(int rc, const char *value, const void *data) {
    (void)data;
    snprintf(answer, sizeof answer, "%d %s", rc, rc == ZOK ? below(value) : "-");
    answers++;
}

/* One turn: waits for what the client waits for, and lets it go on. */
static int turn(void) {
    int fd = -1, interest = 0;
    struct timeval wait = {0, 0};
    int code = zookeeper_interest(zh, &fd, &interest, &wait);
    if (code != ZOK || fd < 0) {
        rest();
        return code;
    }
    struct pollfd one = {fd, (short)((interest & ZOOKEEPER_READ ? POLLIN : 0) | (interest & ZOOKEEPER_WRITE ? POLLOUT : 0)), 0};
    poll(&one, 1, (int)(wait.tv_sec * 1000 + wait.tv_usec / 1000));
    int events = (one.revents & (POLLIN | POLLHUP | POLLERR) ? ZOOKEEPER_READ : 0) | (one.revents & POLLOUT ? ZOOKEEPER_WRITE : 0);
    return zookeeper_process(zh, events);
}

CASE(zookeeper_interest) {
    int fd = -1, interest = 0;
    struct timeval wait;
    NUMBER(zookeeper_interest(zh, &fd, &interest, &wait), ZOK);
    NUMBER(fd >= 0, 1);
    NUMBER((interest & ZOOKEEPER_READ) != 0, 1);
    NUMBER(wait.tv_sec < 30, 1);
}

CASE(zookeeper_process) {
    const char *wanted[] = {"0 ", "0 /a", "-110 -"};
    for (int each = 0; each < 3; each++) {
        time_t end = time(NULL) + PATIENCE;
        answers = 0;
        NUMBER(zoo_acreate(zh, at(each ? "/a" : ""), "x", 1, &ZOO_OPEN_ACL_UNSAFE, ZOO_PERSISTENT, on_string, NULL), ZOK);
        while (answers == 0 && time(NULL) < end) turn();
        TEXT(answer, wanted[each]);
    }
    NUMBER(zookeeper_process(zh, ZOOKEEPER_READ), ZNOTHING);
}

static const struct listed CASES[] = {LISTED(zookeeper_interest), LISTED(zookeeper_process)};

static void before(void) {
    zh = zookeeper_init(hosts, watcher, 30000, NULL, NULL, 0);
    time_t end = time(NULL) + PATIENCE;
    while (zoo_state(zh) != ZOO_CONNECTED_STATE && time(NULL) < end) turn();
}

static void after(void) { zookeeper_close(zh); }

int main(int count, char **words) {
    snprintf(hosts, sizeof hosts, "%s", words[count - 1]);
    zoo_set_debug_level(ZOO_LOG_LEVEL_ERROR);
    return run(CASES, sizeof CASES / sizeof *CASES, count > 2 ? words[1] : "", 1000, before, after);
}
