/* Every call of Apache ZooKeeper's C client with threads, each with a case that is called as it is. */

#include <arpa/inet.h>
#include <pthread.h>
#include <sys/socket.h>

#include "shared.h"

static zhandle_t *zh;
static const struct ACL_vector *const OPEN = &ZOO_OPEN_ACL_UNSAFE;

/* --- what is told by other threads */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char told[4096];
static int answered;
static char answer[4096];

static const char *stat_text(zhandle_t *of, const struct Stat *stat) {
    static char texts[8][256];
    static int next;
    next = (next + 1) % 8;
    if (!stat) return "no stat";
    const clientid_t *mine = zoo_client_id(of);
    snprintf(texts[next], sizeof texts[next], "{version %d,%d,%d length %d children %d owner %s %s%s}", stat->version, stat->cversion, stat->aversion,
             stat->dataLength, stat->numChildren, stat->ephemeralOwner == 0 ? "none" : stat->ephemeralOwner == mine->client_id ? "mine" : "another",
             stat->czxid == stat->mzxid ? "new" : "changed", stat->pzxid == stat->czxid ? "" : " children changed");
    return texts[next];
}

/* Everything that a watch is told: its context says which. */
static void watcher(zhandle_t *of, int type, int state, const char *path, void *context) {
    (void)of;
    pthread_mutex_lock(&lock);
    size_t used = strlen(told);
    if (type == ZOO_SESSION_EVENT)
        snprintf(told + used, sizeof told - used, "state %d;", state);
    else
        snprintf(told + used, sizeof told - used, "%s%d %s;", context ? (const char *)context : "", type, below(path));
    pthread_mutex_unlock(&lock);
}

static int holds(const char *event) {
    pthread_mutex_lock(&lock);
    int found = strstr(told, event) != NULL;
    pthread_mutex_unlock(&lock);
    return found;
}

/* Waits for this event, whose end is a semicolon. */
static void await_told(int line, const char *event) {
    time_t end = time(NULL) + PATIENCE;
    while (!holds(event) && time(NULL) < end) rest();
    equal_text(line, holds(event) ? event : told, event);
}
#define TOLD(event) await_told(__LINE__, event)

static void forget(void) {
    pthread_mutex_lock(&lock);
    told[0] = 0;
    pthread_mutex_unlock(&lock);
}

static void done(const char *format, ...) {
    va_list words;
    pthread_mutex_lock(&lock);
    va_start(words, format);
    vsnprintf(answer, sizeof answer, format, words);
    va_end(words);
    answered = 1;
    pthread_mutex_unlock(&lock);
}

/* The answer to a request that was sent with this code. */
static const char *later(int sent) {
    static char text[4200];
    if (sent != ZOK) {
        snprintf(text, sizeof text, "not sent: %d", sent);
        return text;
    }
    time_t end = time(NULL) + PATIENCE;
    for (;;) {
        pthread_mutex_lock(&lock);
        int there = answered;
        if (there) {
            answered = 0;
            strcpy(text, answer);
        }
        pthread_mutex_unlock(&lock);
        if (there) return text;
        if (time(NULL) > end) return "no answer";
        rest();
    }
}

static void on_void(int rc, const void *data) { done("%d %s", rc, (const char *)data); }
static void on_stat(int rc, const struct Stat *stat, const void *data) { done("%d %s %s", rc, (const char *)data, rc == ZOK ? stat_text(zh, stat) : "-"); }
static void on_string(int rc, const char *value, const void *data) { done("%d %s %s", rc, (const char *)data, rc == ZOK ? below(value) : "-"); }
static void on_string_stat(int rc, const char *value, const struct Stat *stat, const void *data) {
    done("%d %s %s %s", rc, (const char *)data, rc == ZOK ? below(value) : "-", rc == ZOK ? stat_text(zh, stat) : "-");
}
static void on_data(int rc, const char *value, int length, const struct Stat *stat, const void *data) {
    if (rc != ZOK) done("%d %s", rc, (const char *)data);
    else done("%d %s '%.*s' %d %s", rc, (const char *)data, length < 0 ? 0 : length, value ? value : "", length, stat_text(zh, stat));
}

static int by_text(const void *one, const void *other) { return strcmp(*(char *const *)one, *(char *const *)other); }

static const char *names(const struct String_vector *strings) {
    static char text[1024];
    const char *sorted[64];
    text[0] = 0;
    int count = strings->count < 64 ? strings->count : 64;
    for (int each = 0; each < count; each++) sorted[each] = strings->data[each];
    qsort(sorted, count, sizeof *sorted, by_text);
    for (int each = 0; each < count; each++) {
        strcat(text, each ? " " : "");
        strcat(text, sorted[each]);
    }
    return text;
}
static void on_strings(int rc, const struct String_vector *strings, const void *data) { done("%d %s [%s]", rc, (const char *)data, rc == ZOK ? names(strings) : "-"); }
static void on_strings_stat(int rc, const struct String_vector *strings, const struct Stat *stat, const void *data) {
    done("%d %s [%s] %s", rc, (const char *)data, rc == ZOK ? names(strings) : "-", rc == ZOK ? stat_text(zh, stat) : "-");
}

static const char *acl_text(const struct ACL_vector *acl) {
    static char text[1024];
    text[0] = 0;
    for (int each = 0; each < acl->count; each++) {
        size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, "%s%d:%s:%s", each ? " " : "", acl->data[each].perms, acl->data[each].id.scheme, acl->data[each].id.id);
    }
    return text;
}
static void on_acl(int rc, struct ACL_vector *acl, struct Stat *stat, const void *data) {
    done("%d %s [%s] %s", rc, (const char *)data, rc == ZOK ? acl_text(acl) : "-", rc == ZOK ? stat_text(zh, stat) : "-");
}

/* --- short forms */

static zhandle_t *connected(zhandle_t *handle) {
    time_t end = time(NULL) + PATIENCE;
    while (handle && zoo_state(handle) != ZOO_CONNECTED_STATE && time(NULL) < end) rest();
    if (!handle || zoo_state(handle) != ZOO_CONNECTED_STATE) {
        fprintf(stderr, "no connection to %s\n", hosts);
        exit(2);
    }
    return handle;
}

static zhandle_t *another(void) { return connected(zookeeper_init(hosts, watcher, 30000, NULL, NULL, 0)); }

static int make(const char *path, const char *value) { return zoo_create(zh, at(path), value, (int)strlen(value), OPEN, ZOO_PERSISTENT, NULL, 0); }
static int change(const char *path) { return zoo_set(zh, at(path), "new", 3, -1); }
static int gone(const char *path) { return zoo_delete(zh, at(path), -1); }
static void await_gone(int line, const char *path) {
    time_t end = time(NULL) + PATIENCE;
    while (zoo_exists(zh, at(path), 0, NULL) == ZOK && time(NULL) < end) rest();
    equal_number(line, zoo_exists(zh, at(path), 0, NULL), ZNONODE);
}
static void family(void) {
    make("/a", "x");
    make("/a/c", "x");
    make("/a/b", "x");
}

/* A request in short: it goes to this handle, and is answered with this word. */
#define WORD "word"
#define FRESH "{version 0,0,0 length 1 children 0 owner none new}"
#define OWN "{version 0,0,0 length 1 children 0 owner mine new}"
#define SET "{version 1,0,0 length 3 children 0 owner none changed}"
#define PARENT "{version 0,2,0 length 1 children 2 owner none new children changed}"

/* --- nodes */

CASE(zoo_create) {
    char path[256] = "";
    NUMBER(zoo_create(zh, at("/a"), "x", 1, OPEN, ZOO_PERSISTENT, path, sizeof path), ZOK);
    TEXT(below(path), "/a");
    NUMBER(zoo_create(zh, at("/a"), "x", 1, OPEN, ZOO_PERSISTENT, path, sizeof path), ZNODEEXISTS);
    NUMBER(zoo_create(zh, at("/none/a"), "x", 1, OPEN, ZOO_PERSISTENT, NULL, 0), ZNONODE);
    NUMBER(zoo_create(zh, at("/e"), "x", 1, OPEN, ZOO_EPHEMERAL, NULL, 0), ZOK);
    NUMBER(zoo_create(zh, at("/e/a"), "x", 1, OPEN, ZOO_PERSISTENT, NULL, 0), ZNOCHILDRENFOREPHEMERALS);
    NUMBER(zoo_create(zh, at("/s-"), "x", 1, OPEN, ZOO_PERSISTENT_SEQUENTIAL, path, sizeof path), ZOK);
    TEXT(below(path), "/s-0000000002");
    NUMBER(zoo_create(zh, at("/s-"), NULL, -1, OPEN, ZOO_EPHEMERAL_SEQUENTIAL, path, sizeof path), ZOK);
    TEXT(below(path), "/s-0000000003");
    NUMBER(zoo_create(zh, at("/c"), "x", 1, OPEN, ZOO_CONTAINER, path, sizeof path), ZOK);
    NUMBER(zoo_create(zh, at("/l"), "x", 1, &ZOO_CREATOR_ALL_ACL, ZOO_PERSISTENT, NULL, 0), ZINVALIDACL);
    NUMBER(zoo_create(zh, at("/r"), "x", 1, &ZOO_READ_ACL_UNSAFE, ZOO_PERSISTENT, NULL, 0), ZOK);
    NUMBER(zoo_create(zh, at("/r/a"), "x", 1, OPEN, ZOO_PERSISTENT, NULL, 0), ZNOAUTH);
    NUMBER(zoo_create(zh, "noslash", "x", 1, OPEN, ZOO_PERSISTENT, NULL, 0), ZBADARGUMENTS);
}

CASE(zoo_create_ttl) {
    char path[256] = "";
    NUMBER(zoo_create_ttl(zh, at("/t"), "x", 1, OPEN, ZOO_PERSISTENT_WITH_TTL, 500, path, sizeof path), ZOK);
    TEXT(below(path), "/t");
    NUMBER(zoo_create_ttl(zh, at("/t-"), "x", 1, OPEN, ZOO_PERSISTENT_SEQUENTIAL_WITH_TTL, 600000, path, sizeof path), ZOK);
    TEXT(below(path), "/t-0000000001");
    NUMBER(zoo_create_ttl(zh, at("/b"), "x", 1, OPEN, ZOO_PERSISTENT_WITH_TTL, 0, NULL, 0), ZBADARGUMENTS);
    await_gone(__LINE__, "/t");
}

CASE(zoo_create2) {
    char path[256] = "";
    struct Stat stat;
    NUMBER(zoo_create2(zh, at("/a"), "x", 1, OPEN, ZOO_PERSISTENT, path, sizeof path, &stat), ZOK);
    TEXT(stat_text(zh, &stat), FRESH);
    NUMBER(zoo_create2(zh, at("/e-"), "x", 1, OPEN, ZOO_EPHEMERAL_SEQUENTIAL, path, sizeof path, &stat), ZOK);
    TEXT(below(path), "/e-0000000001");
    TEXT(stat_text(zh, &stat), OWN);
    NUMBER(zoo_create2(zh, at("/c"), "x", 1, OPEN, ZOO_CONTAINER, path, sizeof path, &stat), ZOK);
    TEXT(stat_text(zh, &stat), FRESH);
    NUMBER(zoo_create2(zh, at("/a"), "x", 1, OPEN, ZOO_PERSISTENT, path, sizeof path, &stat), ZNODEEXISTS);
}

CASE(zoo_create2_ttl) {
    char path[256] = "";
    struct Stat stat;
    NUMBER(zoo_create2_ttl(zh, at("/t"), "x", 1, OPEN, ZOO_PERSISTENT_WITH_TTL, 500, path, sizeof path, &stat), ZOK);
    TEXT(stat_text(zh, &stat), FRESH);
    await_gone(__LINE__, "/t");
}

CASE(zoo_acreate) {
    TEXT(later(zoo_acreate(zh, at("/a"), "x", 1, OPEN, ZOO_PERSISTENT, on_string, WORD)), "0 word /a");
    TEXT(later(zoo_acreate(zh, at("/a"), "x", 1, OPEN, ZOO_PERSISTENT, on_string, WORD)), "-110 word -");
    TEXT(later(zoo_acreate(zh, at("/s-"), "x", 1, OPEN, ZOO_EPHEMERAL_SEQUENTIAL, on_string, WORD)), "0 word /s-0000000001");
}

CASE(zoo_acreate_ttl) {
    TEXT(later(zoo_acreate_ttl(zh, at("/t"), "x", 1, OPEN, ZOO_PERSISTENT_WITH_TTL, 500, on_string, WORD)), "0 word /t");
    await_gone(__LINE__, "/t");
}

CASE(zoo_acreate2) {
    TEXT(later(zoo_acreate2(zh, at("/a"), "x", 1, OPEN, ZOO_PERSISTENT, on_string_stat, WORD)), "0 word /a " FRESH);
    TEXT(later(zoo_acreate2(zh, at("/e"), "x", 1, OPEN, ZOO_EPHEMERAL, on_string_stat, WORD)), "0 word /e " OWN);
    TEXT(later(zoo_acreate2(zh, at("/none/a"), "x", 1, OPEN, ZOO_PERSISTENT, on_string_stat, WORD)), "-101 word - -");
}

CASE(zoo_acreate2_ttl) {
    TEXT(later(zoo_acreate2_ttl(zh, at("/t"), "x", 1, OPEN, ZOO_PERSISTENT_WITH_TTL, 500, on_string_stat, WORD)), "0 word /t " FRESH);
    await_gone(__LINE__, "/t");
}

CASE(zoo_delete) {
    make("/a", "x");
    make("/a/b", "x");
    NUMBER(zoo_delete(zh, at("/a"), -1), ZNOTEMPTY);
    NUMBER(zoo_delete(zh, at("/a/b"), 3), ZBADVERSION);
    NUMBER(zoo_delete(zh, at("/a/b"), 0), ZOK);
    NUMBER(zoo_delete(zh, at("/a/b"), 0), ZNONODE);
    NUMBER(zoo_delete(zh, "/zookeeper/quota", -1), ZBADARGUMENTS);
}

CASE(zoo_adelete) {
    make("/a", "x");
    TEXT(later(zoo_adelete(zh, at("/a"), 3, on_void, WORD)), "-103 word");
    TEXT(later(zoo_adelete(zh, at("/a"), 0, on_void, WORD)), "0 word");
    TEXT(later(zoo_adelete(zh, at("/a"), 0, on_void, WORD)), "-101 word");
}

CASE(zoo_exists) {
    struct Stat stat;
    NUMBER(zoo_exists(zh, at("/a"), 1, &stat), ZNONODE);
    make("/a", "x");
    TOLD("1 /a;");
    NUMBER(zoo_exists(zh, at("/a"), 1, &stat), ZOK);
    TEXT(stat_text(zh, &stat), FRESH);
    change("/a");
    TOLD("3 /a;");
}

CASE(zoo_wexists) {
    struct Stat stat;
    NUMBER(zoo_wexists(zh, at("/a"), watcher, "mine ", &stat), ZNONODE);
    make("/a", "x");
    TOLD("mine 1 /a;");
    NUMBER(zoo_wexists(zh, at("/a"), watcher, "mine ", &stat), ZOK);
    gone("/a");
    TOLD("mine 2 /a;");
}

CASE(zoo_aexists) {
    TEXT(later(zoo_aexists(zh, at("/a"), 1, on_stat, WORD)), "-101 word -");
    make("/a", "x");
    TOLD("1 /a;");
    TEXT(later(zoo_aexists(zh, at("/a"), 0, on_stat, WORD)), "0 word " FRESH);
}

CASE(zoo_awexists) {
    TEXT(later(zoo_awexists(zh, at("/a"), watcher, "mine ", on_stat, WORD)), "-101 word -");
    make("/a", "x");
    TOLD("mine 1 /a;");
}

CASE(zoo_get) {
    char buffer[16];
    int length = sizeof buffer;
    struct Stat stat;
    make("/a", "x");
    NUMBER(zoo_get(zh, at("/a"), 1, buffer, &length, &stat), ZOK);
    NUMBER(length, 1);
    TEXT(stat_text(zh, &stat), FRESH);
    change("/a");
    TOLD("3 /a;");
    length = 2;
    NUMBER(zoo_get(zh, at("/a"), 0, buffer, &length, &stat), ZOK);
    NUMBER(length, 2);
    TEXT(stat_text(zh, &stat), SET);
    NUMBER(zoo_get(zh, at("/none"), 1, buffer, &length, &stat), ZNONODE);
    zoo_create(zh, at("/null"), NULL, -1, OPEN, ZOO_PERSISTENT, NULL, 0);
    length = sizeof buffer;
    NUMBER(zoo_get(zh, at("/null"), 0, buffer, &length, &stat), ZOK);
    NUMBER(length, -1);
    make("/empty", "");
    length = sizeof buffer;
    NUMBER(zoo_get(zh, at("/empty"), 0, buffer, &length, &stat), ZOK);
    NUMBER(length, 0);
}

CASE(zoo_wget) {
    char buffer[16];
    int length = sizeof buffer;
    make("/a", "x");
    NUMBER(zoo_wget(zh, at("/a"), watcher, "mine ", buffer, &length, NULL), ZOK);
    gone("/a");
    TOLD("mine 2 /a;");
}

CASE(zoo_aget) {
    make("/a", "x");
    TEXT(later(zoo_aget(zh, at("/a"), 1, on_data, WORD)), "0 word 'x' 1 " FRESH);
    change("/a");
    TOLD("3 /a;");
    TEXT(later(zoo_aget(zh, at("/none"), 0, on_data, WORD)), "-101 word");
}

CASE(zoo_awget) {
    make("/a", "x");
    TEXT(later(zoo_awget(zh, at("/a"), watcher, "mine ", on_data, WORD)), "0 word 'x' 1 " FRESH);
    change("/a");
    TOLD("mine 3 /a;");
}

CASE(zoo_set) {
    make("/a", "x");
    NUMBER(zoo_set(zh, at("/a"), "new", 3, 0), ZOK);
    NUMBER(zoo_set(zh, at("/a"), "new", 3, 0), ZBADVERSION);
    NUMBER(zoo_set(zh, at("/a"), NULL, -1, 1), ZOK);
    NUMBER(zoo_set(zh, at("/none"), "new", 3, -1), ZNONODE);
}

CASE(zoo_set2) {
    struct Stat stat;
    make("/a", "x");
    NUMBER(zoo_set2(zh, at("/a"), "new", 3, 0, &stat), ZOK);
    TEXT(stat_text(zh, &stat), SET);
}

CASE(zoo_aset) {
    make("/a", "x");
    TEXT(later(zoo_aset(zh, at("/a"), "new", 3, 0, on_stat, WORD)), "0 word " SET);
    TEXT(later(zoo_aset(zh, at("/a"), "new", 3, 0, on_stat, WORD)), "-103 word -");
}

/* --- children */

CASE(zoo_get_children) {
    struct String_vector strings;
    family();
    NUMBER(zoo_get_children(zh, at("/a"), 1, &strings), ZOK);
    TEXT(names(&strings), "b c");
    deallocate_String_vector(&strings);
    make("/a/d", "x");
    TOLD("4 /a;");
    NUMBER(zoo_get_children(zh, at("/none"), 0, &strings), ZNONODE);
    NUMBER(zoo_get_children(zh, at("/a/d"), 1, &strings), ZOK);
    NUMBER(strings.count, 0);
    gone("/a/d");
    TOLD("2 /a/d;");
}

CASE(zoo_wget_children) {
    struct String_vector strings;
    family();
    NUMBER(zoo_wget_children(zh, at("/a"), watcher, "mine ", &strings), ZOK);
    TEXT(names(&strings), "b c");
    gone("/a/b");
    TOLD("mine 4 /a;");
}

CASE(zoo_aget_children) {
    family();
    TEXT(later(zoo_aget_children(zh, at("/a"), 1, on_strings, WORD)), "0 word [b c]");
    gone("/a/b");
    TOLD("4 /a;");
    TEXT(later(zoo_aget_children(zh, at("/none"), 0, on_strings, WORD)), "-101 word [-]");
}

CASE(zoo_awget_children) {
    family();
    TEXT(later(zoo_awget_children(zh, at("/a"), watcher, "mine ", on_strings, WORD)), "0 word [b c]");
    make("/a/d", "x");
    TOLD("mine 4 /a;");
}

CASE(zoo_get_children2) {
    struct String_vector strings;
    struct Stat stat;
    family();
    NUMBER(zoo_get_children2(zh, at("/a"), 1, &strings, &stat), ZOK);
    TEXT(names(&strings), "b c");
    TEXT(stat_text(zh, &stat), PARENT);
    make("/a/d", "x");
    TOLD("4 /a;");
}

CASE(zoo_wget_children2) {
    struct String_vector strings;
    struct Stat stat;
    family();
    NUMBER(zoo_wget_children2(zh, at("/a"), watcher, "mine ", &strings, &stat), ZOK);
    TEXT(stat_text(zh, &stat), PARENT);
    gone("/a/c");
    TOLD("mine 4 /a;");
}

CASE(zoo_aget_children2) {
    family();
    TEXT(later(zoo_aget_children2(zh, at("/a"), 1, on_strings_stat, WORD)), "0 word [b c] " PARENT);
    make("/a/d", "x");
    TOLD("4 /a;");
    TEXT(later(zoo_aget_children2(zh, at("/none"), 0, on_strings_stat, WORD)), "-101 word [-] -");
}

CASE(zoo_awget_children2) {
    family();
    TEXT(later(zoo_awget_children2(zh, at("/a"), watcher, "mine ", on_strings_stat, WORD)), "0 word [b c] " PARENT);
    make("/a/d", "x");
    TOLD("mine 4 /a;");
}

/* --- access */

CASE(zoo_get_acl) {
    struct ACL_vector acl;
    struct Stat stat;
    make("/a", "x");
    NUMBER(zoo_get_acl(zh, at("/a"), &acl, &stat), ZOK);
    TEXT(acl_text(&acl), "31:world:anyone");
    TEXT(stat_text(zh, &stat), FRESH);
    NUMBER(zoo_get_acl(zh, at("/none"), &acl, &stat), ZNONODE);
}

CASE(zoo_aget_acl) {
    make("/a", "x");
    TEXT(later(zoo_aget_acl(zh, at("/a"), on_acl, WORD)), "0 word [31:world:anyone] " FRESH);
    TEXT(later(zoo_aget_acl(zh, at("/none"), on_acl, WORD)), "-101 word [-] -");
}

CASE(zoo_set_acl) {
    struct ACL_vector acl;
    struct ACL two[] = {{1, {"world", "anyone"}}, {31, {"digest", "ann:Fy1xdVDWcpL8w0s1p1bIXO3hRmY="}}};
    struct ACL_vector list = {2, two};
    struct ACL odd[] = {{1, {"nonsense", "x"}}};
    struct ACL_vector bad = {1, odd};
    make("/a", "x");
    NUMBER(zoo_set_acl(zh, at("/a"), 7, &list), ZBADVERSION);
    NUMBER(zoo_set_acl(zh, at("/a"), 0, &bad), ZINVALIDACL);
    NUMBER(zoo_set_acl(zh, at("/a"), 0, &list), ZOK);
    NUMBER(zoo_get_acl(zh, at("/a"), &acl, NULL), ZOK);
    TEXT(acl_text(&acl), "1:world:anyone 31:digest:ann:x");
    NUMBER(zoo_set_acl(zh, at("/a"), 1, OPEN), ZNOAUTH);
}

CASE(zoo_aset_acl) {
    make("/a", "x");
    TEXT(later(zoo_aset_acl(zh, at("/a"), 0, &ZOO_READ_ACL_UNSAFE, on_void, WORD)), "0 word");
    TEXT(later(zoo_aset_acl(zh, at("/a"), 1, &ZOO_READ_ACL_UNSAFE, on_void, WORD)), "-102 word");
}

CASE(zoo_add_auth) {
    struct ACL_vector acl;
    TEXT(later(zoo_add_auth(zh, "digest", "ann:secret", 10, on_void, WORD)), "0 word");
    NUMBER(zoo_create(zh, at("/d"), "x", 1, &ZOO_CREATOR_ALL_ACL, ZOO_PERSISTENT, NULL, 0), ZOK);
    NUMBER(zoo_get_acl(zh, at("/d"), &acl, NULL), ZOK);
    note("%s", acl_text(&acl));
    zhandle_t *other = another();
    char buffer[4];
    int length = sizeof buffer;
    NUMBER(zoo_get(other, at("/d"), 0, buffer, &length, NULL), ZNOAUTH);
    TEXT(later(zoo_add_auth(other, "digest", "super:secret", 12, on_void, WORD)), "0 word");
    NUMBER(zoo_get(other, at("/d"), 0, buffer, &length, NULL), ZOK);
    zookeeper_close(other);
    other = another();
    TEXT(later(zoo_add_auth(other, "nonsense", "x", 1, on_void, WORD)), "-115 word");
    TOLD("state -113;");
    NUMBER(zoo_state(other), ZOO_AUTH_FAILED_STATE);
    NUMBER(is_unrecoverable(other), ZINVALIDSTATE);
    zookeeper_close(other);
}

/* --- several at once, and what stands apart */

static void several(zoo_op_t *ops, struct Stat *stat) {
    static char made[256], numbered[256];
    zoo_create_op_init(&ops[0], at("/m"), "x", 1, OPEN, ZOO_PERSISTENT, made, sizeof made);
    zoo_set_op_init(&ops[1], at("/m"), "new", 3, 0, stat);
    zoo_check_op_init(&ops[2], at("/m"), 1);
    zoo_create_op_init(&ops[3], at("/m/s-"), "x", 1, OPEN, ZOO_PERSISTENT_SEQUENTIAL, numbered, sizeof numbered);
    zoo_delete_op_init(&ops[4], at("/m/s-0000000000"), 0);
}

CASE(zoo_multi) {
    zoo_op_t ops[5];
    zoo_op_result_t results[5];
    struct Stat stat;
    several(ops, &stat);
    NUMBER(zoo_multi(zh, 5, ops, results), ZOK);
    for (int each = 0; each < 5; each++) NUMBER(results[each].err, ZOK);
    TEXT(below(results[3].value), "/m/s-0000000000");
    TEXT(stat_text(zh, &stat), "{version 1,0,0 length 3 children 0 owner none new}");
    NUMBER(zoo_multi(zh, 5, ops, results), ZNODEEXISTS);
    NUMBER(results[0].err, ZNODEEXISTS);
    for (int each = 1; each < 5; each++) NUMBER(results[each].err, ZRUNTIMEINCONSISTENCY);
    zoo_create_op_init(&ops[0], at("/n"), "x", 1, OPEN, ZOO_PERSISTENT, NULL, 0);
    NUMBER(zoo_multi(zh, 3, ops, results), ZBADVERSION);
    NUMBER(results[0].err, ZOK);
    NUMBER(results[1].err, ZBADVERSION);
    NUMBER(results[2].err, ZRUNTIMEINCONSISTENCY);
    NUMBER(zoo_exists(zh, at("/n"), 0, NULL), ZNONODE);
}

CASE(zoo_amulti) {
    zoo_op_t ops[5];
    zoo_op_result_t results[5];
    struct Stat stat;
    several(ops, &stat);
    TEXT(later(zoo_amulti(zh, 5, ops, results, on_void, WORD)), "0 word");
    NUMBER(results[4].err, ZOK);
    TEXT(later(zoo_amulti(zh, 5, ops, results, on_void, WORD)), "-110 word");
    NUMBER(results[4].err, ZRUNTIMEINCONSISTENCY);
}

CASE(zoo_async) {
    TEXT(later(zoo_async(zh, at("/a"), on_string, WORD)), "0 word /a");
}

/* The list of servers, without ports and version. */
static void config(int line, const char *text, int length) {
    char copy[512] = "";
    memcpy(copy, text, length < 511 ? length : 511);
    equal_number(line, strncmp(copy, "server.1=127.0.0.1:", 19), 0);
    equal_number(line, strstr(copy, ":participant;127.0.0.1:") != NULL && strstr(copy, "\nversion=") != NULL, 1);
    note("%s", strstr(copy, "server.9") ? "with an observer" : "alone");
}

CASE(zoo_getconfig) {
    char buffer[512];
    int length = sizeof buffer;
    struct Stat stat;
    NUMBER(zoo_getconfig(zh, 0, buffer, &length, &stat), ZOK);
    config(__LINE__, buffer, length);
    NUMBER(stat.version, -1);
}

CASE(zoo_wgetconfig) {
    char buffer[512];
    int length = sizeof buffer;
    NUMBER(zoo_wgetconfig(zh, watcher, "mine ", buffer, &length, NULL), ZOK);
    config(__LINE__, buffer, length);
}

static void on_config(int rc, const char *value, int length, const struct Stat *stat, const void *data) {
    if (rc == ZOK) config(__LINE__, value, length);
    done("%d %s %d", rc, (const char *)data, rc == ZOK && stat ? stat->version : 0);
}

CASE(zoo_agetconfig) { TEXT(later(zoo_agetconfig(zh, 0, on_config, WORD)), "0 word -1"); }
CASE(zoo_awgetconfig) { TEXT(later(zoo_awgetconfig(zh, watcher, "mine ", on_config, WORD)), "0 word -1"); }

#define OBSERVER "server.9=127.0.0.1:7:8:observer;127.0.0.1:9"

CASE(zoo_reconfig) {
    char buffer[512];
    int length = sizeof buffer;
    struct Stat stat;
    NUMBER(zoo_reconfig(zh, OBSERVER, NULL, NULL, -1, buffer, &length, &stat), ZNOAUTH);
    TEXT(later(zoo_add_auth(zh, "digest", "super:secret", 12, on_void, WORD)), "0 word");
    NUMBER(zoo_reconfig(zh, "nonsense", NULL, NULL, -1, buffer, &length, &stat), ZBADARGUMENTS);
    NUMBER(zoo_reconfig(zh, OBSERVER, NULL, NULL, 77, buffer, &length, &stat), ZBADVERSION);
    NUMBER(zoo_wgetconfig(zh, watcher, "mine ", buffer, &length, &stat), ZOK);
    length = sizeof buffer;
    NUMBER(zoo_reconfig(zh, OBSERVER, NULL, NULL, -1, buffer, &length, &stat), ZOK);
    config(__LINE__, buffer, length);
    TOLD("mine 3 /zookeeper/config;");
    length = sizeof buffer;
    NUMBER(zoo_reconfig(zh, NULL, "9", NULL, -1, buffer, &length, &stat), ZOK);
    config(__LINE__, buffer, length);
}

CASE(zoo_areconfig) {
    TEXT(later(zoo_areconfig(zh, OBSERVER, NULL, NULL, -1, on_config, WORD)), "-102 word 0");
    TEXT(later(zoo_add_auth(zh, "digest", "super:secret", 12, on_void, WORD)), "0 word");
    TEXT(later(zoo_areconfig(zh, OBSERVER, NULL, NULL, -1, on_config, WORD)), "0 word -1");
    TEXT(later(zoo_areconfig(zh, NULL, "9", NULL, -1, on_config, WORD)), "0 word -1");
}

/* --- watches removed */

CASE(zoo_remove_watches) {
    char buffer[4];
    int length = sizeof buffer;
    make("/a", "x");
    zoo_wget(zh, at("/a"), watcher, "mine ", buffer, &length, NULL);
    NUMBER(zoo_remove_watches(zh, at("/a"), ZWATCHTYPE_DATA, watcher, "mine ", 0), ZOK);
    forget();
    change("/a");
    NUMBER(zoo_exists(zh, "/", 0, NULL), ZOK);
    NUMBER(holds("mine 3 /a;"), 0);
    NUMBER(zoo_remove_watches(zh, at("/a"), ZWATCHTYPE_DATA, watcher, "mine ", 0), ZNOWATCHER);
}

CASE(zoo_aremove_watches) {
    struct String_vector strings;
    make("/a", "x");
    zoo_wget_children(zh, at("/a"), watcher, "mine ", &strings);
    TEXT(later(zoo_aremove_watches(zh, at("/a"), ZWATCHTYPE_CHILD, watcher, "mine ", 0, (void_completion_t *)on_void, WORD)), "0 word");
    NUMBER(zoo_aremove_watches(zh, at("/a"), ZWATCHTYPE_CHILD, watcher, "mine ", 0, (void_completion_t *)on_void, WORD), ZNOWATCHER);
}

CASE(zoo_remove_all_watches) {
    struct String_vector strings;
    make("/a", "x");
    zoo_wget_children(zh, at("/a"), watcher, "mine ", &strings);
    zoo_wexists(zh, at("/a"), watcher, "mine ", NULL);
    NUMBER(zoo_remove_all_watches(zh, at("/a"), ZWATCHTYPE_ANY, 0), ZOK);
    forget();
    change("/a");
    make("/a/b", "x");
    NUMBER(zoo_exists(zh, "/", 0, NULL), ZOK);
    NUMBER(holds("/a;"), 0);
}

CASE(zoo_aremove_all_watches) {
    make("/a", "x");
    zoo_wexists(zh, at("/a"), watcher, "mine ", NULL);
    TEXT(later(zoo_aremove_all_watches(zh, at("/a"), ZWATCHTYPE_DATA, 0, (void_completion_t *)on_void, WORD)), "0 word");
    TEXT(later(zoo_aremove_all_watches(zh, at("/a"), ZWATCHTYPE_DATA, 0, (void_completion_t *)on_void, WORD)), "-121 word");
}

/* --- handles and sessions */

CASE(zookeeper_init) {
    zhandle_t *first = another();
    clientid_t id = *zoo_client_id(first);
    NUMBER(zoo_create(first, at("/e"), "x", 1, OPEN, ZOO_EPHEMERAL, NULL, 0), ZOK);
    zhandle_t *second = connected(zookeeper_init(hosts, watcher, 30000, &id, NULL, 0));
    NUMBER(zoo_client_id(second)->client_id == id.client_id, 1);
    struct Stat stat;
    NUMBER(zoo_exists(second, at("/e"), 0, &stat), ZOK);
    TEXT(stat_text(second, &stat), OWN);
    forget();
    zookeeper_close(second);
    NUMBER(zoo_exists(zh, at("/e"), 0, &stat), ZNONODE);
    TOLD("state -112;");
    NUMBER(is_unrecoverable(first), ZINVALIDSTATE);
    zookeeper_close(first);
    char rooted[160];
    snprintf(rooted, sizeof rooted, "%s%s", hosts, base);
    zhandle_t *below_it = connected(zookeeper_init(rooted, watcher, 30000, NULL, NULL, 0));
    char path[64];
    NUMBER(zoo_create(below_it, "/a", "x", 1, OPEN, ZOO_PERSISTENT, path, sizeof path), ZOK);
    TEXT(path, "/a");
    NUMBER(zoo_exists(zh, at("/a"), 0, NULL), ZOK);
    zookeeper_close(below_it);
}

static int logged;
static void on_log(const char *message) {
    (void)message;
    __atomic_add_fetch(&logged, 1, __ATOMIC_SEQ_CST);
}

CASE(zookeeper_init2) {
    zhandle_t *other = connected(zookeeper_init2(hosts, watcher, 30000, NULL, "context", ZOO_READONLY, on_log));
    NUMBER(zoo_exists(other, "/", 0, NULL), ZOK);
    NUMBER(zoo_get_log_callback(other) == on_log, 1);
    zookeeper_close(other);
}

CASE(zookeeper_close) {
    zhandle_t *other = another();
    NUMBER(zoo_create(other, at("/e"), "x", 1, OPEN, ZOO_EPHEMERAL, NULL, 0), ZOK);
    NUMBER(zoo_wexists(zh, at("/e"), watcher, "mine ", NULL), ZOK);
    NUMBER(zookeeper_close(other), ZOK);
    TOLD("mine 2 /e;");
}

CASE(zoo_client_id) {
    struct Stat stat;
    NUMBER(zoo_create2(zh, at("/e"), "x", 1, OPEN, ZOO_EPHEMERAL, NULL, 0, &stat), ZOK);
    NUMBER(stat.ephemeralOwner == zoo_client_id(zh)->client_id && stat.ephemeralOwner != 0, 1);
}

CASE(zoo_recv_timeout) {
    NUMBER(zoo_recv_timeout(zh), 30000);
    zhandle_t *other = connected(zookeeper_init(hosts, watcher, 500000, NULL, NULL, 0));
    NUMBER(zoo_recv_timeout(other), 60000);
    zookeeper_close(other);
}

CASE(zoo_state) {
    NUMBER(zoo_state(zh), ZOO_CONNECTED_STATE);
    TOLD("state 3;");
}

CASE(is_unrecoverable) { NUMBER(is_unrecoverable(zh), ZOK); }

CASE(zoo_set_context) {
    static char word[] = "other ";
    zoo_set_context(zh, word);
    zoo_exists(zh, at("/a"), 1, NULL);
    make("/a", "x");
    TOLD("other 1 /a;");
}

CASE(zoo_get_context) {
    static char word[] = "other ";
    NUMBER(zoo_get_context(zh) == NULL, 1);
    zoo_set_context(zh, word);
    NUMBER(zoo_get_context(zh) == word, 1);
}

static void other_watcher(zhandle_t *of, int type, int state, const char *path, void *context) {
    (void)context;
    watcher(of, type, state, path, "second ");
}

CASE(zoo_set_watcher) {
    NUMBER(zoo_set_watcher(zh, other_watcher) == watcher, 1);
    zoo_exists(zh, at("/a"), 1, NULL);
    make("/a", "x");
    TOLD("second 1 /a;");
}

CASE(zookeeper_get_connected_host) {
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    struct sockaddr *found = zookeeper_get_connected_host(zh, (struct sockaddr *)&address, &length);
    NUMBER(found != NULL && ntohs(((struct sockaddr_in *)found)->sin_port) == atoi(strchr(hosts, ':') + 1), 1);
}

CASE(zoo_get_current_server) { NUMBER(strcmp(zoo_get_current_server(zh), hosts), 0); }

CASE(zoo_set_servers) {
    char two[160];
    snprintf(two, sizeof two, "%s,%s", hosts, hosts);
    NUMBER(zoo_set_servers(zh, two), ZOK);
    connected(zh);
    NUMBER(zoo_exists(zh, "/", 0, NULL), ZOK);
}

CASE(zoo_set_servers_resolution_delay) {
    NUMBER(zoo_set_servers_resolution_delay(zh, 10), ZOK);
    NUMBER(zoo_set_servers_resolution_delay(zh, -1), ZOK);
    NUMBER(zoo_set_servers_resolution_delay(zh, -2), ZBADARGUMENTS);
    NUMBER(zoo_exists(zh, "/", 0, NULL), ZOK);
}

CASE(zoo_cycle_next_server) {
    zoo_cycle_next_server(zh);
    connected(zh);
    NUMBER(zoo_exists(zh, "/", 0, NULL), ZOK);
}

CASE(zoo_deterministic_conn_order) {
    char two[160];
    snprintf(two, sizeof two, "%s,%s", hosts, hosts);
    zoo_deterministic_conn_order(1);
    zhandle_t *other = connected(zookeeper_init(two, watcher, 30000, NULL, NULL, 0));
    NUMBER(zoo_exists(other, "/", 0, NULL), ZOK);
    zookeeper_close(other);
    zoo_deterministic_conn_order(0);
}

CASE(zerror) {
    TEXT(zerror(ZNONODE), "no node");
    TEXT(zerror(zoo_delete(zh, at("/none"), -1)), "no node");
}

CASE(zoo_set_debug_level) {
    zoo_set_debug_level(ZOO_LOG_LEVEL_DEBUG);
    NUMBER(zoo_exists(zh, "/", 0, NULL), ZOK);
    zoo_set_debug_level(ZOO_LOG_LEVEL_ERROR);
}

CASE(zoo_set_log_stream) {
    FILE *stream = tmpfile();
    zoo_set_log_stream(stream);
    zoo_set_debug_level(ZOO_LOG_LEVEL_DEBUG);
    NUMBER(zoo_exists(zh, "/", 0, NULL), ZOK);
    zoo_set_debug_level(ZOO_LOG_LEVEL_ERROR);
    NUMBER(ftell(stream) > 0, 1);
    zoo_set_log_stream(stderr);
}

CASE(zoo_get_log_callback) { NUMBER(zoo_get_log_callback(zh) == NULL, 1); }

CASE(zoo_set_log_callback) {
    zoo_set_log_callback(zh, on_log);
    zoo_set_debug_level(ZOO_LOG_LEVEL_DEBUG);
    logged = 0;
    NUMBER(zoo_exists(zh, "/", 0, NULL), ZOK);
    zoo_set_debug_level(ZOO_LOG_LEVEL_ERROR);
    NUMBER(__atomic_load_n(&logged, __ATOMIC_SEQ_CST) > 0, 1);
    zoo_set_log_callback(zh, NULL);
}

static const struct listed CASES[] = {
    LISTED(zoo_create), LISTED(zoo_create_ttl), LISTED(zoo_create2), LISTED(zoo_create2_ttl), LISTED(zoo_acreate), LISTED(zoo_acreate_ttl),
    LISTED(zoo_acreate2), LISTED(zoo_acreate2_ttl), LISTED(zoo_delete), LISTED(zoo_adelete), LISTED(zoo_exists), LISTED(zoo_wexists),
    LISTED(zoo_aexists), LISTED(zoo_awexists), LISTED(zoo_get), LISTED(zoo_wget), LISTED(zoo_aget), LISTED(zoo_awget), LISTED(zoo_set),
    LISTED(zoo_set2), LISTED(zoo_aset), LISTED(zoo_get_children), LISTED(zoo_wget_children), LISTED(zoo_aget_children),
    LISTED(zoo_awget_children), LISTED(zoo_get_children2), LISTED(zoo_wget_children2), LISTED(zoo_aget_children2), LISTED(zoo_awget_children2),
    LISTED(zoo_get_acl), LISTED(zoo_aget_acl), LISTED(zoo_set_acl), LISTED(zoo_aset_acl), LISTED(zoo_add_auth), LISTED(zoo_multi),
    LISTED(zoo_amulti), LISTED(zoo_async), LISTED(zoo_getconfig), LISTED(zoo_wgetconfig), LISTED(zoo_agetconfig), LISTED(zoo_awgetconfig),
    LISTED(zoo_remove_watches), LISTED(zoo_aremove_watches), LISTED(zoo_remove_all_watches), LISTED(zoo_aremove_all_watches),
    LISTED(zookeeper_init), LISTED(zookeeper_init2), LISTED(zookeeper_close), LISTED(zoo_client_id), LISTED(zoo_recv_timeout), LISTED(zoo_state),
    LISTED(is_unrecoverable), LISTED(zoo_set_context), LISTED(zoo_get_context), LISTED(zoo_set_watcher), LISTED(zookeeper_get_connected_host),
    LISTED(zoo_get_current_server), LISTED(zoo_set_servers), LISTED(zoo_set_servers_resolution_delay), LISTED(zoo_cycle_next_server),
    LISTED(zoo_deterministic_conn_order), LISTED(zerror), LISTED(zoo_set_debug_level), LISTED(zoo_set_log_stream),
    LISTED(zoo_get_log_callback), LISTED(zoo_set_log_callback), LISTED(zoo_reconfig), LISTED(zoo_areconfig),
};

static void before(void) {
    forget();
    answered = 0;
    zh = another();
    zoo_create(zh, base, "x", 1, OPEN, ZOO_PERSISTENT, NULL, 0);
}

static void after(void) { zookeeper_close(zh); }

int main(int count, char **words) {
    snprintf(hosts, sizeof hosts, "%s", words[count - 1]);
    zoo_set_debug_level(ZOO_LOG_LEVEL_ERROR);
    return run(CASES, sizeof CASES / sizeof *CASES, count > 2 ? words[1] : "", 0, before, after);
}
