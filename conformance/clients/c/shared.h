/* What the two C drivers share: named cases, what each saw, and how a driver tells of it (see stock.py). */

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <zookeeper/zookeeper.h>

/* Seconds; a wait ends as soon as what is awaited is there. */
#define PATIENCE 30
#define CASE(name) static void case_##name(void)
#define LISTED(name) {#name, case_##name}

struct listed {
    const char *name;
    void (*run)(void);
};

static char seen[65536];
static int failed;
static char wrong[8192];
/* The folder of the case. */
static char base[64];
static char hosts[64];

static void note(const char *format, ...) {
    va_list words;
    size_t used = strlen(seen);
    va_start(words, format);
    vsnprintf(seen + used, sizeof seen - used - 2, format, words);
    va_end(words);
    strcat(seen, "\n");
}

static void equal_text(int line, const char *got, const char *wanted) {
    note("%s", got);
    if (!failed && strcmp(got, wanted) != 0) {
        failed = 1;
        snprintf(wrong, sizeof wrong, "line %d: %s where %s was due", line, got, wanted);
    }
}

static void equal_number(int line, long long got, long long wanted) {
    char one[32], other[32];
    snprintf(one, sizeof one, "%lld", got);
    snprintf(other, sizeof other, "%lld", wanted);
    equal_text(line, one, other);
}

#define TEXT(got, wanted) equal_text(__LINE__, (got), (wanted))
#define NUMBER(got, wanted) equal_number(__LINE__, (got), (wanted))

/* A path in the case's folder; good for some calls more. */
static const char *at(const char *below) {
    static char paths[16][256];
    static int next;
    next = (next + 1) % 16;
    snprintf(paths[next], sizeof paths[next], "%s%s", base, below);
    return paths[next];
}

/* A path as it is shown. */
static const char *below(const char *path) {
    return path && strncmp(path, base, strlen(base)) == 0 ? path + strlen(base) : path ? path : "null";
}

static void rest(void) {
    struct timespec moment = {0, 2000000};
    nanosleep(&moment, NULL);
}

static void printed(const char *text) {
    for (; *text; text++) {
        if (*text == '\n') fputs("\\n", stdout);
        else if (*text == '\\') fputs("\\\\", stdout);
        else if (*text == '\t') fputs("\\t", stdout);
        else putchar(*text);
    }
}

/* Runs the cases whose names hold a word; 0 if all passed. */
static int run(const struct listed *cases, size_t count, const char *only, int first, void (*before)(void), void (*after)(void)) {
    int bad = 0;
    for (size_t each = 0; each < count; each++) {
        if (!strstr(cases[each].name, only)) continue;
        seen[0] = wrong[0] = 0;
        failed = 0;
        snprintf(base, sizeof base, "/case-%d", first + (int)each);
        before();
        cases[each].run();
        after();
        bad |= failed;
        printf("@case\t%s\t%s\t", cases[each].name, failed ? "FAILED" : "passed");
        if (failed) {
            printed(wrong);
            printed(" behind ");
        }
        printed(seen);
        puts("");
        fflush(stdout);
    }
    return bad;
}
