// From a text like "generator:size=64,rate=1000,paced" to a wire.
//
// The text is a kind, for some kinds a colon and what they need, and options, each after a comma. Two tables say
// which kinds there are and which options they take; everything that is wrong with a text is found by looking there.
// What a kind does is in wire_KIND.c; the two that do nothing, sink and unplugged, are here.
#include "wire.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ixgbe_regs.h"
#include "wire_kinds.h"

static int wire_sink(const struct wire_options *options, struct sim_device *port, struct line **line);
static int wire_unplugged(const struct wire_options *options, struct sim_device *port, struct line **line);

static const struct kind {
    const char *name;
    const char *argument;  // what must stand after the colon; NULL: nothing
    int (*open)(const struct wire_options *options, struct sim_device *port, struct line **line);
} kinds[] = {
    {"cable", NULL, wire_cable}, {"replay", "FILE", wire_replay}, {"generator", NULL, wire_generator},
    {"sink", NULL, wire_sink},   {"tap", "NAME", wire_tap},       {"unplugged", NULL, wire_unplugged},
};

#define FIELD(name) offsetof(struct wire_options, name)

static const struct option {
    const char *kind;  // NULL: all of them
    const char *name;
    const char *usage;
    size_t field;                // in struct wire_options: a uint64_t if there is a range, a text after =, or a bool
    uint64_t smallest, largest;  // of a number; 0: the option has none
} options_known[] = {
    {"cable", "alone=quiet", "alone=quiet", FIELD(alone_quiet), 0, 0},
    {"replay", "loop", "loop", FIELD(loop), 0, 0},
    {"replay", "fast", "fast", FIELD(fast), 0, 0},
    {"generator", "size=", "size=BYTES", FIELD(size), 60, 1514},
    {"generator", "rate=", "rate=PPS", FIELD(rate), 1, 1000000000},
    {"generator", "flows=", "flows=N", FIELD(flows), 1, 32768},
    {NULL, "paced", "paced", FIELD(paced), 0, 0},
    {NULL, "record=", "record=FILE", FIELD(record), 0, 0},
};

#define COUNT(table) (sizeof(table) / sizeof *(table))

void wire_complain(const char *format, ...) {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    fprintf(stderr, "sim82599: %s\n", text);
}

static bool takes(const struct kind *kind, const struct option *option) {
    return !option->kind || strcmp(option->kind, kind->name) == 0;
}

static void append(char *list, size_t size, const char *text) {
    size_t used = strlen(list);
    snprintf(list + used, size - used, "%s%s", used ? ", " : "", text);
}

static const struct kind *find_kind(const char *text, const char *name) {
    char list[256] = "";
    for (unsigned i = 0; i < COUNT(kinds); i++) {
        if (strcmp(kinds[i].name, name) == 0) return &kinds[i];
        char usage[32];
        snprintf(usage, sizeof usage, "%s%s%s", kinds[i].name, kinds[i].argument ? ":" : "",
                 kinds[i].argument ? kinds[i].argument : "");
        append(list, sizeof list, usage);
    }
    wire_complain("wire \"%s\": there is no kind \"%s\"; the kinds are %s", text, name, list);
    return NULL;
}

static int set_number(const char *text, const struct option *option, const char *digits, uint64_t *number) {
    char *end = NULL;
    errno = 0;
    *number = *digits >= '0' && *digits <= '9' ? strtoull(digits, &end, 10) : 0;
    if (end && !*end && !errno && *number >= option->smallest && *number <= option->largest) return 0;
    wire_complain("wire \"%s\": %s\"%s\" must be a whole number from %llu to %llu", text, option->name, digits,
                  (unsigned long long)option->smallest, (unsigned long long)option->largest);
    return -EINVAL;
}

static int set_option(const char *text, const struct kind *kind, const char *word, struct wire_options *options) {
    char list[256] = "";
    for (unsigned i = 0; i < COUNT(options_known); i++) {
        const struct option *option = &options_known[i];
        if (!takes(kind, option)) continue;
        append(list, sizeof list, option->usage);
        void *field = (char *)options + option->field;
        size_t length = strlen(option->name);
        if (option->name[length - 1] == '=') {
            if (strncmp(word, option->name, length) != 0) continue;
            if (option->largest) return set_number(text, option, word + length, field);
            *(const char **)field = word + length;
            return 0;
        }
        if (strcmp(word, option->name) == 0) {
            *(bool *)field = true;
            return 0;
        }
    }
    wire_complain("wire \"%s\": %s has no option \"%s\"; it takes %s", text, kind->name, word, list);
    return -EINVAL;
}

// What stands between the kind's name and the options.
static int check_argument(const char *text, const struct kind *kind, const char *argument) {
    if (kind->argument && (!argument || !*argument)) {
        wire_complain("wire \"%s\": %s needs a %s: %s:%s", text, kind->name, kind->argument, kind->name,
                      kind->argument);
        return -EINVAL;
    }
    if (!kind->argument && argument) {
        wire_complain("wire \"%s\": nothing can stand after %s: but \"%s\" does", text, kind->name, argument);
        return -EINVAL;
    }
    return 0;
}

static int parse(const char *text, char *words, const struct kind **kind, struct wire_options *options) {
    char *rest = words + strcspn(words, ",:");
    char separator = *rest;
    if (*rest) *rest++ = '\0';
    *kind = find_kind(text, words);
    if (!*kind) return -EINVAL;

    // The generator needs nothing, so there a colon is as good as a comma.
    if (separator == ':' && (*kind)->open != wire_generator) options->argument = strsep(&rest, ",");
    int error = check_argument(text, *kind, options->argument);
    if (!separator) rest = NULL;
    for (char *word; !error && (word = strsep(&rest, ","));) error = set_option(text, *kind, word, options);
    return error;
}

int wire_plug(const char *text, struct sim_device *port, struct wire **wire) {
    *wire = NULL;
    char *words = strdup(text);
    if (!words) return -ENOMEM;
    const struct kind *kind;
    struct wire_options options = {0};
    struct line *line = NULL;
    int error = parse(text, words, &kind, &options);
    if (!error) error = kind->open(&options, port, &line);
    if (!error) {
        line->wire.port = port;
        line->in.on = line->out.on = options.paced;
        *wire = &line->wire;
    }
    if (!error && options.record) {
        error = wire_record(options.record, &line->wire, wire);
        if (error) wire_unplug(&line->wire);
    }
    free(words);
    if (error) *wire = NULL;
    if (error == -ENOMEM) wire_complain("wire \"%s\": out of memory", text);
    return error;
}

void wire_unplug(struct wire *wire) {
    if (wire) wire->ops->close(wire);
}

void wire_port_mac(const struct sim_device *port, uint8_t mac[6]) {
    uint64_t address = sim_peek(port, IXGBE_RAL) | (uint64_t)sim_peek(port, IXGBE_RAH) << 32;
    for (unsigned i = 0; i < 6; i++) mac[i] = (uint8_t)(address >> 8 * i);
}

unsigned line_swallow(struct wire *wire, const struct wire_frame *frames, unsigned count) {
    struct line *line = (struct line *)wire;
    unsigned taken = 0;
    while (taken < count && pacer_ready(&line->out, wire->port)) pacer_count(&line->out, frames[taken++].length);
    return taken;
}

bool line_has_light(const struct wire *wire) { return (void)wire, true; }
void line_free(struct wire *wire) { free(wire); }

static bool no_light(const struct wire *wire) { return (void)wire, false; }
static unsigned nothing_arrives(struct wire *wire, unsigned budget) { return (void)wire, (void)budget, 0; }

static const struct wire_ops sink_ops = {"sink", line_swallow, nothing_arrives, line_has_light, line_free};
static const struct wire_ops unplugged_ops = {"unplugged", line_swallow, nothing_arrives, no_light, line_free};

static int wire_sink(const struct wire_options *options, struct sim_device *port, struct line **line) {
    (void)options, (void)port;
    *line = calloc(1, sizeof **line);
    if (!*line) return -ENOMEM;
    (*line)->wire.ops = &sink_ops;
    return 0;
}

static int wire_unplugged(const struct wire_options *options, struct sim_device *port, struct line **line) {
    int error = wire_sink(options, port, line);
    if (!error) (*line)->wire.ops = &unplugged_ops;
    return error;
}
