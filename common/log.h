// log.h: messages to the person at the terminal, all on standard error.
#pragma once

// An error: what failed, on what, and what to do. Prints "error: ...: STRERROR(-error)" and returns `error` (a
// negative errno), so that a failing function says so and leaves in one line. It is called once per failure, where
// the most is known; callers further out only pass the number on.
int log_error(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));

// Something works, but not as well as it could. The text says what it costs and how to mend it.
void log_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));

void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
