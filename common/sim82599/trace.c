// trace.c: writes down what the device does, one line an event.
//
//          123.0us p0 W RXDCTL[0]       0x02000000 ENABLE
//          125.5us p0 R RXDCTL[0]       0x00000000
//          144.0us p0 R ...             9 times more
//          146.0us p0 DMA RX ring 0 [17] fetch: buffer iova 0x100022000
//
// Time is the device's own, from the first event on. Then the port, and what happened: a register access with the
// fields that are not zero, a descriptor decoded, a frame, an interrupt, a mapping.
//
// The driver's register accesses arrive here inside a SIGSEGV handler that interrupted the driver anywhere, perhaps
// inside malloc or printf. So everything is formatted into static memory by the few lines at the end of this file,
// and every line is one write(2) to a file opened for appending: nothing is lost when the program is killed, and a
// forked child has nothing in a buffer to write a second time.
#include "trace.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ixgbe_regs.h"
#include "sim.h"

enum { TIME_DIGITS = 11, COLUMN_VALUE = 36 };

static struct {
    bool on;
    bool started;  // something has been written: the first event empties the file
    bool was_observed;
    int fd;
    const char *where;
    char where_buffer[256];
    uint64_t first_ns;
    struct text line;
} trace;

// The last access, and how often it has gone on like this: a read of the same value again, as in a wait, or a write
// of the same value to the next register of the row, as when a table is cleared.
static struct {
    struct sim_device *device;
    bool write;
    uint32_t offset, value;
    unsigned times;
    uint64_t last_ns;
    pid_t owner;  // a forked child inherits the count, but it is not its to report
} repeated;

// The register table, once more, as data.

enum {
#define REG(name, offset, count, stride, access, reset, section, description) ROW_##name,
#include "registers.def"
    ROWS
};

static const struct register_row rows[ROWS] = {
#define REG(name, offset, count, stride, access, reset, section, description)                                        \
    {#name, (offset), (count), (stride), REGISTER_##access},
#include "registers.def"
};

static const struct field {
    uint16_t row;
    uint8_t shift, width;
    const char *name;
} fields[] = {
#define FIELD(register, name, shift, width) {ROW_##register, (shift), (width), #name},
#include "registers.def"
};

// Whose fields a row has, if they are not its own; a row number plus one.
static const uint16_t fields_like[ROWS] = {
#define ALIAS(register, original)            [ROW_##register] = ROW_##original + 1,
#define CONTINUES(register, original, first) [ROW_##register] = ROW_##original + 1,
#include "registers.def"
};

static unsigned row_with_fields(unsigned row) {
    switch (row) {  // one bit a cause, like EICR
    case ROW_EICS:
    case ROW_EIMS:
    case ROW_EIMC:
    case ROW_EIAC:
    case ROW_EIAM: return ROW_EICR;
    }
    return fields_like[row] ? fields_like[row] - 1u : row;
}

const struct register_row *register_at(uint32_t offset) {
    static uint16_t row_at[SIM_BAR0_SIZE / 4];  // row number plus one
    static bool ready;
    if (!ready) {
        for (unsigned row = 0; row < ROWS; row++)
            for (uint32_t i = 0; i < rows[row].count; i++)
                row_at[(rows[row].offset + i * rows[row].stride) / 4] = (uint16_t)(row + 1);
        ready = true;
    }
    unsigned row = offset < SIM_BAR0_SIZE && offset % 4 == 0 ? row_at[offset / 4] : 0;
    return row ? &rows[row - 1] : NULL;
}

// Writing.

static const char *error_text(int error) {
    switch (error) {  // strerror may allocate
    case ENOSPC: return "no space left on the device";
    case EDQUOT: return "disk quota exceeded";
    case EFBIG: return "file too large";
    case EPIPE: return "nobody reads the pipe any more";
    case ENOENT: return "no such directory";
    case EACCES: return "permission denied";
    case EISDIR: return "it is a directory";
    case EROFS: return "the file system is read-only";
    default: return NULL;
    }
}

static void complain(const char *what, int error) {
    static struct text line;
    const char *text = error_text(error);
    line.length = 0;
    text_format(&line, "sim82599: trace: %s %s: ", what, trace.where);
    if (text)
        text_format(&line, "%s", text);
    else
        text_format(&line, "error %u", (unsigned)error);
    text_write(&line, STDERR_FILENO);
}

static void trace_stop(void) {
    if (trace.fd > STDERR_FILENO) close(trace.fd);
    trace.on = false;
    repeated.device = NULL;
    repeated.times = 0;
    sim_observed = trace.was_observed;
}

static void emit(struct text *line) {
    int error = text_write(line, trace.fd);
    if (error == 0) return;
    complain("the trace ends here, cannot write", -error);
    trace_stop();
}

static struct text *start_at(const struct sim_device *device, uint64_t now) {
    struct text *line = &trace.line;
    if (!trace.started) {
        trace.started = true;
        trace.first_ns = now;
        struct stat file;
        if (fstat(trace.fd, &file) == 0 && S_ISREG(file.st_mode) && trace.fd != STDERR_FILENO &&
            ftruncate(trace.fd, 0) != 0)
            complain("cannot empty", errno);
    }
    uint64_t tenths = now > trace.first_ns ? (now - trace.first_ns) / 100 : 0;
    char digits[24];
    unsigned n = 0;
    do digits[n++] = (char)('0' + tenths % 10);
    while ((tenths /= 10) > 0 || n < 2);
    line->length = 0;
    text_pad(line, n < TIME_DIGITS ? TIME_DIGITS - n : 0);
    while (n > 1) line->bytes[line->length++] = digits[--n];
    text_format(line, ".");
    line->bytes[line->length++] = digits[0];
    text_format(line, "us p%u ", sim_port(device));
    return line;
}

void trace_flush(void) {
    if (!trace.on || repeated.times == 0) return;
    unsigned times = repeated.times;
    repeated.times = 0;
    if (getpid() != repeated.owner) return;
    struct text *line = start_at(repeated.device, repeated.last_ns);
    if (repeated.write)
        text_format(line, "W ... %r", repeated.offset);
    else
        text_format(line, "R ...");
    text_pad(line, COLUMN_VALUE);
    if (repeated.write)
        text_format(line, "the same to %u more", times);
    else
        text_format(line, times == 1 ? "once more" : "%u times more", times);
    emit(line);
}

static struct text *start(const struct sim_device *device) {
    if (!trace.on) return NULL;
    trace_flush();
    repeated.device = NULL;
    return trace.on ? start_at(device, sim_now(device)) : NULL;  // the flush may have met a full disk
}

__attribute__((destructor)) static void flush_at_exit(void) { trace_flush(); }

int trace_open(const char *where) {
    if (trace.on) {
        trace_flush();
        trace_stop();
    }
    if (where == NULL || *where == '\0') return 0;
    size_t length = strlen(where);
    if (length >= sizeof trace.where_buffer) length = sizeof trace.where_buffer - 1;
    memcpy(trace.where_buffer, where, length);
    trace.where_buffer[length] = '\0';
    trace.where = trace.where_buffer;
    int fd = STDERR_FILENO;
    if (strncmp(where, "text:", 5) == 0 && where[5] != '\0') {
        trace.where = trace.where_buffer + 5;
        fd = open(where + 5, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
        if (fd < 0) {
            int error = errno;
            complain("cannot open", error);
            return -error;
        }
    } else if (strcmp(where, "-") != 0 && strcmp(where, "text") != 0) {
        static struct text line;
        line.length = 0;
        text_format(&line, "sim82599: trace: \"%s\" is neither \"-\" (standard error) nor \"text:FILE\"",
                    trace.where);
        text_write(&line, STDERR_FILENO);
        return -EINVAL;
    }
    trace.fd = fd;
    trace.on = true;
    trace.started = false;
    trace.was_observed = sim_observed;
    sim_observed = true;
    return 0;
}

// Registers.

static void append_field(struct text *line, const struct field *field, uint32_t value) {
    const struct register_row *row = &rows[field->row];
    uint32_t bits = value >> field->shift & (0xffffffffu >> (32 - field->width));
    if (bits == 0) return;
    if (field->width == 1)
        text_format(line, " %s", field->name);
    else if (row->offset == IXGBE_RDH || row->offset == IXGBE_RDT || row->offset == IXGBE_TDH ||
             row->offset == IXGBE_TDT)
        text_format(line, " %u", bits);  // their one field has their name
    else
        text_format(line, field->width > 9 ? " %s=%x" : " %s=%u", field->name, bits);
}

static void append_fields(struct text *line, unsigned row, uint32_t value) {
    row = row_with_fields(row);
    if (row == ROW_EICR && (value | IXGBE_EICR_OTHER_CAUSE) == 0xffffffff) {
        text_format(line, " all");
        return;
    }
    for (unsigned i = 0; i < sizeof fields / sizeof fields[0]; i++)
        if (fields[i].row == row) append_field(line, &fields[i], value);
}

static bool goes_on(const struct sim_device *device, bool write, uint32_t offset, uint32_t value) {
    if (repeated.device != device || repeated.write != write || repeated.value != value) return false;
    if (!write) return repeated.offset == offset;
    const struct register_row *row = register_at(offset);
    return row && row == register_at(repeated.offset) && offset == repeated.offset + row->stride;
}

static void trace_access(struct sim_device *device, bool write, uint32_t offset, uint32_t value) {
    static const char digits[] = "0123456789abcdef";
    if (!trace.on) return;
    if (goes_on(device, write, offset, value)) {
        repeated.offset = offset;
        repeated.times++;
        repeated.last_ns = sim_now(device);
        repeated.owner = getpid();
        return;
    }
    struct text *line = start(device);
    if (!line) return;
    text_format(line, write ? "W %r" : "R %r", offset);
    text_pad(line, COLUMN_VALUE - 1);
    text_format(line, " 0x");
    for (int shift = 28; shift >= 0; shift -= 4) line->bytes[line->length++] = digits[value >> shift & 15];
    const struct register_row *row = register_at(offset);
    if (row) append_fields(line, (unsigned)(row - rows), value);
    emit(line);
    repeated.device = device;
    repeated.write = write;
    repeated.offset = offset;
    repeated.value = value;
}

void trace_register_read(struct sim_device *device, uint32_t offset, uint32_t value) {
    trace_access(device, false, offset, value);
}

void trace_register_write(struct sim_device *device, uint32_t offset, uint32_t value) {
    trace_access(device, true, offset, value);
}

// Descriptors.

struct flag {
    uint32_t mask;
    const char *name;
};

static void append_flags(struct text *line, const struct flag *flags, uint32_t value) {
    for (; flags->mask; flags++)
        if (value & flags->mask) text_format(line, " %s", flags->name);
}

static const struct flag tx_command[] = {
    {IXGBE_TXD_CMD_EOP, "EOP"},
    {IXGBE_TXD_CMD_IFCS, "IFCS"},
    {IXGBE_TXD_CMD_IC, "IC"},
    {IXGBE_TXD_CMD_RS, "RS"},
    {IXGBE_TXD_CMD_VLE, "VLE"},
    {IXGBE_TXD_CMD_TSE, "TSE"},
    {0, NULL},
};
static const struct flag tx_options[] = {
    {IXGBE_TXD_OPT_CC, "CC"}, {IXGBE_TXD_OPT_IXSM, "IXSM"}, {IXGBE_TXD_OPT_TXSM, "TXSM"}, {0, NULL}};
static const struct flag rx_status[] = {
    {IXGBE_RXD_STATUS_DD, "DD"},     {IXGBE_RXD_STATUS_EOP, "EOP"},     {IXGBE_RXD_STATUS_FLM, "FLM"},
    {IXGBE_RXD_STATUS_VP, "VP"},     {IXGBE_RXD_STATUS_UDPCS, "UDPCS"}, {IXGBE_RXD_STATUS_L4I, "L4I"},
    {IXGBE_RXD_STATUS_IPCS, "IPCS"}, {IXGBE_RXD_STATUS_PIF, "PIF"},     {0, NULL},
};
static const struct flag rx_error[] = {
    {IXGBE_RXD_ERROR_RXE, "RXE"}, {IXGBE_RXD_ERROR_L4E, "L4E"}, {IXGBE_RXD_ERROR_IPE, "IPE"}, {0, NULL}};
static const struct flag rx_legacy_error[] = {{IXGBE_RXD_LEGACY_ERROR_RXE, "RXE"},
                                              {IXGBE_RXD_LEGACY_ERROR_L4E, "L4E"},
                                              {IXGBE_RXD_LEGACY_ERROR_IPE, "IPE"},
                                              {0, NULL}};

static bool legacy_receive(const struct sim_device *device, unsigned queue) {
    uint32_t srrctl = sim_peek(device, ixgbe_rx_queue_reg(IXGBE_SRRCTL, queue));
    return (srrctl & IXGBE_SRRCTL_DESCTYPE) >> IXGBE_SRRCTL_DESCTYPE_SHIFT == IXGBE_DESCTYPE_LEGACY;
}

static struct text *start_ring(struct sim_device *device, enum sim_ring ring, unsigned queue, unsigned index) {
    struct text *line = start(device);
    if (line) text_format(line, "DMA %s ring %u [%u] ", ring == SIM_RING_RX ? "RX" : "TX", queue, index);
    return line;
}

static void append_rx_fetch(struct text *line, const void *bytes, bool legacy) {
    union ixgbe_rx_desc descriptor;
    memcpy(&descriptor, bytes, sizeof descriptor);
    text_format(line, "fetch: buffer iova %q", descriptor.read.packet_iova);
    if (!legacy && descriptor.read.header_iova) text_format(line, " header iova %q", descriptor.read.header_iova);
}

static void append_tx_context(struct text *line, const void *bytes) {
    struct ixgbe_tx_context_desc context;
    memcpy(&context, bytes, sizeof context);
    uint32_t l4 = context.command & IXGBE_TXC_L4T;
    text_format(line, "fetch: context %u: MACLEN %u IPLEN %u L4LEN %u MSS %u %s %s",
                (context.segmentation & IXGBE_TXC_IDX) >> IXGBE_TXC_IDX_SHIFT,
                (context.header_lengths & IXGBE_TXC_MACLEN) >> IXGBE_TXC_MACLEN_SHIFT,
                context.header_lengths & IXGBE_TXC_IPLEN,
                (context.segmentation & IXGBE_TXC_L4LEN) >> IXGBE_TXC_L4LEN_SHIFT,
                (context.segmentation & IXGBE_TXC_MSS) >> IXGBE_TXC_MSS_SHIFT,
                context.command & IXGBE_TXC_IPV4 ? "IPv4" : "IPv6",
                l4 == IXGBE_TXC_L4T_TCP    ? "TCP"
                : l4 == IXGBE_TXC_L4T_SCTP ? "SCTP"
                                           : "UDP");
    uint32_t vlan = (context.header_lengths & IXGBE_TXC_VLAN) >> IXGBE_TXC_VLAN_SHIFT;
    if (vlan) text_format(line, " VLAN %u", vlan);
}

static void append_tx_fetch(struct text *line, const void *bytes) {
    union ixgbe_tx_desc descriptor;
    memcpy(&descriptor, bytes, sizeof descriptor);
    uint32_t command = descriptor.read.command, options = descriptor.read.options;
    bool advanced = command & IXGBE_TXD_CMD_DEXT;
    if (advanced && (command & IXGBE_TXD_CMD_DTYP) == IXGBE_TXD_CMD_DTYP_CONTEXT) {
        append_tx_context(line, bytes);
        return;
    }
    text_format(line, "fetch: %s iova %q length %u", advanced ? "data" : "legacy", descriptor.read.iova,
                command & IXGBE_TXD_CMD_LENGTH);
    append_flags(line, tx_command, command);
    if (!advanced) return;
    append_flags(line, tx_options, options);
    text_format(line, " PAYLEN %u", options >> IXGBE_TXD_OPT_PAYLEN_SHIFT);
}

void trace_fetch(struct sim_device *device, enum sim_ring ring, unsigned queue, unsigned index,
                 const void *descriptor) {
    struct text *line = start_ring(device, ring, queue, index);
    if (!line) return;
    if (ring == SIM_RING_RX)
        append_rx_fetch(line, descriptor, legacy_receive(device, queue));
    else
        append_tx_fetch(line, descriptor);
    emit(line);
}

static void append_rx_legacy_write_back(struct text *line, const void *bytes) {
    union ixgbe_rx_legacy_desc descriptor;
    memcpy(&descriptor, bytes, sizeof descriptor);
    append_flags(line, rx_status, descriptor.wb.status);
    append_flags(line, rx_legacy_error, descriptor.wb.errors);
    text_format(line, " length %u", (unsigned)descriptor.wb.length);
    if (descriptor.wb.status & IXGBE_RXD_STATUS_VP) text_format(line, " VLAN %u", (unsigned)descriptor.wb.vlan);
}

static void append_rx_write_back(struct text *line, const void *bytes) {
    static const char *const types[] = {
        [IXGBE_RSS_TYPE_IPV4_TCP] = "IPv4/TCP", [IXGBE_RSS_TYPE_IPV4] = "IPv4",
        [IXGBE_RSS_TYPE_IPV6_TCP] = "IPv6/TCP", [IXGBE_RSS_TYPE_IPV6] = "IPv6",
        [IXGBE_RSS_TYPE_IPV4_UDP] = "IPv4/UDP", [IXGBE_RSS_TYPE_IPV6_UDP] = "IPv6/UDP",
        [IXGBE_RSS_TYPE_FLOW_DIRECTOR] = NULL};
    union ixgbe_rx_desc descriptor;
    memcpy(&descriptor, bytes, sizeof descriptor);
    append_flags(line, rx_status, descriptor.wb.status_error);
    append_flags(line, rx_error, descriptor.wb.status_error);
    text_format(line, " length %u", (unsigned)descriptor.wb.length);
    if (descriptor.wb.status_error & IXGBE_RXD_STATUS_VP) text_format(line, " VLAN %u", (unsigned)descriptor.wb.vlan);
    const char *type = types[descriptor.wb.info & IXGBE_RXD_INFO_RSS_TYPE];
    if (type) text_format(line, " RSS %s %x", type, descriptor.wb.rss_hash);
}

void trace_write_back(struct sim_device *device, enum sim_ring ring, unsigned queue, unsigned index,
                      const void *descriptor) {
    struct text *line = start_ring(device, ring, queue, index);
    if (!line) return;
    text_format(line, "write back:");
    union ixgbe_tx_desc sent;
    memcpy(&sent, descriptor, sizeof sent);
    if (ring == SIM_RING_TX)
        text_format(line, sent.wb.status & IXGBE_TXD_STATUS_DD ? " DD" : " (no DD)");
    else if (legacy_receive(device, queue))
        append_rx_legacy_write_back(line, descriptor);
    else
        append_rx_write_back(line, descriptor);
    emit(line);
}

// Everything else.

static void write_line(struct sim_device *device, const char *format, ...) {
    struct text *line = start(device);
    if (!line) return;
    va_list arguments;
    va_start(arguments, format);
    text_append(line, format, arguments);
    va_end(arguments);
    emit(line);
}

void trace_reset(struct sim_device *device) { write_line(device, "reset"); }

void trace_queue_enabled(struct sim_device *device, enum sim_ring ring, unsigned queue) {
    uint32_t low, high, size;
    if (ring == SIM_RING_RX) {
        low = sim_peek(device, ixgbe_rx_queue_reg(IXGBE_RDBAL, queue));
        high = sim_peek(device, ixgbe_rx_queue_reg(IXGBE_RDBAH, queue));
        size = sim_peek(device, ixgbe_rx_queue_reg(IXGBE_RDLEN, queue));
    } else {
        low = sim_peek(device, ixgbe_tx_queue_reg(IXGBE_TDBAL, queue));
        high = sim_peek(device, ixgbe_tx_queue_reg(IXGBE_TDBAH, queue));
        size = sim_peek(device, ixgbe_tx_queue_reg(IXGBE_TDLEN, queue));
    }
    write_line(device, "%s queue %u enabled: %u descriptors at iova %q", ring == SIM_RING_RX ? "RX" : "TX", queue,
               size / 16, (uint64_t)high << 32 | low);
}

void trace_queue_disabled(struct sim_device *device, enum sim_ring ring, unsigned queue) {
    write_line(device, "%s queue %u disabled", ring == SIM_RING_RX ? "RX" : "TX", queue);
}

void trace_dma(struct sim_device *device, bool device_writes, uint64_t iova, uint32_t length) {
    write_line(device, "DMA %s iova %q length %u", device_writes ? "write" : "read", iova, length);
}

void trace_dma_fault(struct sim_device *device, bool device_writes, uint64_t iova, uint32_t length) {
    write_line(device, "FAULT DMA %s iova %q length %u: not moved", device_writes ? "write" : "read", iova, length);
}

static const char *ethertype_name(unsigned type) {
    switch (type) {
    case 0x0800: return "IPv4";
    case 0x0806: return "ARP";
    case 0x8100: return "VLAN";
    case 0x86dd: return "IPv6";
    case 0x8808: return "PAUSE";
    case 0x88cc: return "LLDP";
    default: return NULL;
    }
}

static void append_mac(struct text *line, const uint8_t *mac) {
    for (unsigned i = 0; i < 6; i++) text_format(line, i == 0 ? "%b" : ":%b", mac[i]);
}

void trace_frame(struct sim_device *device, bool sent, const void *frame, uint32_t length) {
    struct text *line = start(device);
    if (!line) return;
    text_format(line, "%s frame, %u bytes", sent ? "TX" : "RX", length);
    const uint8_t *bytes = frame;
    if (length >= 14) {
        unsigned type = (unsigned)bytes[12] << 8 | bytes[13];
        const char *name = ethertype_name(type);
        text_format(line, ", ");
        append_mac(line, bytes + 6);
        text_format(line, " > ");
        append_mac(line, bytes);
        if (name)
            text_format(line, ", %s", name);
        else
            text_format(line, ", type %x", type);
    }
    emit(line);
}

void trace_dropped(struct sim_device *device, bool sent, const char *why, uint32_t length) {
    write_line(device, "%s dropped, %u bytes: %s", sent ? "TX" : "RX", length, why);
}

void trace_interrupt(struct sim_device *device, unsigned vector, uint32_t causes) {
    struct text *line = start(device);
    if (!line) return;
    text_format(line, "IRQ vector %u:", vector);
    for (unsigned queue = 0; queue < 16; queue++)
        if (causes & 1u << queue) text_format(line, " RTXQ%u", queue);
    append_fields(line, ROW_EICR, causes & ~IXGBE_EICR_RTXQ);
    emit(line);
}

void trace_event(struct sim_device *device, const char *what) { write_line(device, "%s", what); }

void trace_map(struct sim_device *device, uint64_t iova, uint64_t size, bool mapped) {
    write_line(device, "%s iova %q size %q", mapped ? "MAP  " : "UNMAP", iova, size);
}

void trace_memory_lost(struct sim_device *device, const void *memory, uint64_t size) {
    write_line(device, "memory at %q, %q bytes, given back while mapped", (uint64_t)(uintptr_t)memory, size);
}

// Lines of text.

static void put(struct text *line, char c) {
    if (line->length < sizeof line->bytes - 1) line->bytes[line->length++] = c;  // one place is the newline's
}

static void put_text(struct text *line, const char *text) {
    while (*text) put(line, *text++);
}

static void put_number(struct text *line, uint64_t value, unsigned base, unsigned least) {
    char digits[24];
    unsigned n = 0;
    do digits[n++] = "0123456789abcdef"[value % base];
    while ((value /= base) > 0 || n < least);
    while (n > 0) put(line, digits[--n]);
}

void text_append(struct text *line, const char *format, va_list arguments) {
    char name[32];
    for (; *format; format++) {
        if (*format != '%') {
            put(line, *format);
            continue;
        }
        uint32_t offset;
        const char *text;
        switch (*++format) {
        case 's': put_text(line, va_arg(arguments, const char *)); break;
        case 'u': put_number(line, va_arg(arguments, unsigned), 10, 1); break;
        case 'b': put_number(line, va_arg(arguments, unsigned), 16, 2); break;
        case 'x': put_text(line, "0x"), put_number(line, va_arg(arguments, uint32_t), 16, 1); break;
        case 'q': put_text(line, "0x"), put_number(line, va_arg(arguments, uint64_t), 16, 1); break;
        case 'r':
            offset = va_arg(arguments, uint32_t);
            text = sim_register_name(offset, name);
            if (text)
                put_text(line, text);
            else
                put_text(line, "0x"), put_number(line, offset, 16, 5);
        }
    }
}

void text_format(struct text *line, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    text_append(line, format, arguments);
    va_end(arguments);
}

void text_pad(struct text *line, unsigned column) {
    while (line->length < column) put(line, ' ');
}

int text_write(struct text *line, int fd) {
    int saved = errno, error = 0;
    line->bytes[line->length++] = '\n';
    for (unsigned done = 0; done < line->length && error == 0;) {
        ssize_t n = write(fd, line->bytes + done, line->length - done);
        if (n > 0)
            done += (unsigned)n;
        else if (n < 0 && errno == EAGAIN)  // a terminal that someone has made non-blocking
            poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, -1);
        else if (n == 0 || errno != EINTR)
            error = n == 0 ? -EIO : -errno;
    }
    errno = saved;
    return error;
}
