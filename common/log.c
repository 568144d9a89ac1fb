// log.c: one message, one line, one write, so that lines of several threads or processes never mix.

#include "log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void print(const char *prefix, const char *suffix, const char *format, va_list arguments) {
    char text[1024];
    vsnprintf(text, sizeof text, format, arguments);
    char line[sizeof text + 128];
    int length = snprintf(line, sizeof line, "%s%s%s%s\n", prefix, text, *suffix ? ": " : "", suffix);
    fwrite(line, 1, (size_t)length, stderr);
}

int log_error(int error, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    print("error: ", strerror(-error), format, arguments);
    va_end(arguments);
    return error;
}

void log_warning(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    print("warning: ", "", format, arguments);
    va_end(arguments);
}

void log_info(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    print("", "", format, arguments);
    va_end(arguments);
}
