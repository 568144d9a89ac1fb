#!/bin/bash
# Ctrl-C in the middle of everything, and what the NIC sees of it; and kill -9.
. "$(dirname "$0")/testing.sh"

# start COMMAND...: as process $pid, with all that it does and says written down.
start() {
    rm -f "$directory"/{trace,out,err}
    scripts/sim --mode stepped --trace="$directory/trace" "$@" >"$directory/out" 2>"$directory/err" </dev/null &
    pid=$!
}

# interrupted SIGNAL COMMAND...: signalled in the middle of its work, the program must end by itself with code 0, and the
# trace must show every queue disabled before the first piece of memory is unmapped, and nothing moved after that.
interrupted() {
    local signal=$1 status
    shift
    start "$@"
    wait_for 'sends|capturing|forwarding|answers for|watching' "$directory/out" "$directory/err"
    sleep 0.5
    kill -"$signal" $pid
    wait $pid
    status=$?
    if [ $status -ne 0 ]; then
        not_ok "'$*' ended with $status after SIG$signal"
    elif ! awk '/ queue [0-9]+ enabled: / { open[$2]++; port_of[$NF] = $2 }
                / queue [0-9]+ disabled/ { open[$2]-- }
                / UNMAP / && $5 in port_of { unmapped++; if (open[port_of[$5]]) bad = 1 }
                / fault/ { bad = 1 }
                END { exit bad || !unmapped }' "$directory/trace"; then
        grep -E 'abled|UNMAP|fault' "$directory/trace" >"$directory/out"
        not_ok "'$*' unmapped memory while a queue was enabled, after SIG$signal"
    else
        ok
    fi
}
interrupted INT 07-apps/loopsend
interrupted TERM 07-apps/loopsend --interrupts
interrupted INT --wire generator:rate=2000,flows=16 07-apps/fwd
interrupted TERM --wire generator:rate=2000,flows=16 07-apps/fwd --queues 4
interrupted INT 07-apps/pcap "$directory/int.pcap"
expect_packets any "$directory/int.pcap"
interrupted TERM 07-apps/pcap --interrupts "$directory/term.pcap"
expect_packets any "$directory/term.pcap"

interrupted INT 07-apps/echo
interrupted TERM 07-apps/echo
interrupted INT 07-apps/stat

# given_up EVENT COMMAND...: told to stop when the trace shows that it has begun to wait in vain, the program ends, and
# blames neither card nor cable.
given_up() {
    local event=$1 status
    shift
    start "$@"
    wait_for "$event" "$directory/trace"
    kill -INT $pid
    wait $pid
    status=$?
    if [ $status -ne 1 ]; then
        not_ok "'$*' ended with $status after SIGINT"
    elif grep -E '^error|nothing at all' "$directory/out" "$directory/err"; then
        not_ok "'$*' was told to stop, and said that"
    else
        ok
    fi
}
for program in 05-ixgbe/{poll,segment,stray} 06-interrupts/wait; do
    given_up 'W TDT.* 0x0*[1-9]' --fault1 no-rx-descriptors $program
done
for program in 07-apps/{loopsend,fwd,bench}; do given_up 'R LINKS' --fault link-down $program; done

# Killed the hard way, the file still ends with a whole packet.
for delay in 0.1 0.2 0.3 0.4; do
    rm -f "$directory/err"
    exec 3< <(exec scripts/sim --wire generator:size=300,rate=20000 07-apps/pcap "$directory/killed.pcap" 2>"$directory/err")
    pid=$!
    wait_for capturing "$directory/err"
    sleep $delay
    kill -9 $pid
    cat <&3 >"$directory/out"  # ends when all have ended who could write to it, and so the file is finished
    expect_packets any "$directory/killed.pcap"
done

# unchanged FILE: for a second.
unchanged() {
    local size
    size=$(stat -c %s "$1")
    sleep 1
    [ "$size" = "$(stat -c %s "$1")" ]
}

# Whoever reads our standard output may sleep. Ctrl-C ends it all the same, and the card is closed first. (Stepped, it sees
# even a queue that is switched off just before a reset.)
rm -f "$directory"/{trace,err}
mkfifo "$directory/fifo"
sleep 200 <"$directory/fifo" &
scripts/sim --mode stepped --wire generator:size=1514 --trace="$directory/trace" 07-apps/pcap - >"$directory/fifo" 2>"$directory/err" </dev/null &
pid=$!
wait_for 'XOFF' "$directory/trace"
wait_until unchanged "$directory/trace"
kill -INT $pid
wait $pid
status=$?
if [ $status -eq 1 ] && grep -q 'nobody reads what was captured' "$directory/err" && grep -q 'queue 0 disabled' "$directory/trace"; then
    ok
else
    not_ok "pcap, whose reader sleeps, ended with $status after SIGINT"
fi
# And when only the reader's pipe is full, so that all can be handed to the writer, which waits there.
kill %?sleep
rm "$directory"/{fifo,err} && mkfifo "$directory/fifo"
sleep 200 <"$directory/fifo" &
scripts/sim --wire generator:size=1514,rate=500 07-apps/pcap - >"$directory/fifo" 2>"$directory/err" </dev/null &
pid=$!
wait_for capturing "$directory/err"
sleep 1
kill -INT $pid
wait $pid
status=$?
if [ $status -eq 1 ] && grep -q 'nobody reads what was captured' "$directory/err"; then ok; else not_ok "pcap, whose writer waits, ended with $status after SIGINT"; fi
kill %?sleep

# Without a standard error, no message gets into the file instead.
timeout 200 07-apps/pcap --count 20 "$directory/silent.pcap" 2>&-
expect_packets 20 "$directory/silent.pcap"

finish
