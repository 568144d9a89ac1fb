# Files: whatever happens to pcap, those who read capture files for a living are content with what it leaves.

have_readers() {
    local missing=0
    need tcpdump tcpdump || missing=1
    need tshark tshark || missing=1
    need capinfos wireshark-common || missing=1
    return $missing
}

# start_capture COMMAND...: pcap in the background, in $capture. It stops by itself if nobody stops it.
start_capture() {
    "$@" 2>"$directory/err" </dev/null &
    capture=$!
}

check_thousand() {
    local file=$directory/thousand.pcap
    check "pcap captures 1000 packets" timeout 60 07-apps/pcap --count 1000 "$file"
    check "tcpdump, tshark and capinfos read them without complaint" reads "$file"
    equal "there are 1000" "$(packets_of_capinfos "$file")" 1000
    equal "times are in nanoseconds, and in order" \
        "$(timeout 60 capinfos -t -o "$file" | sed -n 's/^\(File type\|Strict time order\): *//p' | paste -sd,)" \
        "Wireshark/tcpdump/... - nanosecond pcap,True"
    check "tshark finds nothing malformed and no bad checksum" nothing_wrong "$file"
    local protocol
    for protocol in ip tcp udp icmp icmpv6; do
        at_least "good $protocol checksums" "$(counted "$file" "$protocol.checksum.status == 1")" 20
    done
    if tcpdump_read "$file" -t -vv | grep -E 'bad .*cksum|cksum .*incorrect|\[\||truncated' >"$directory/out"; then
        fail "tcpdump -vv finds no bad checksum either" "$(cat "$directory/out")"
    else
        ok "tcpdump -vv finds no bad checksum either"
    fi
}

check_pipes() {
    timeout 60 07-apps/pcap --count 200 - 2>"$directory/err" | tshark_read - >"$directory/out"
    equal "pcap --count 200 - | tshark -r -" "${PIPESTATUS[*]}, $(grep -c . "$directory/out") packets" "0 0, 200 packets"
    timeout 60 07-apps/pcap - 2>"$directory/err" | tcpdump_read - -c 10 >"$directory/out"
    equal "pcap - ends when tcpdump has seen enough" "${PIPESTATUS[*]}, $(grep -c . "$directory/out") packets" "0 0, 10 packets"
}

check_snaplen() {
    local file=$directory/short.pcap
    check "pcap keeps the first 40 bytes" timeout 60 07-apps/pcap --count 200 --snaplen 40 "$file"
    check "tcpdump, tshark and capinfos read that" reads "$file"
    equal "the file says 40" "$(timeout 60 capinfos -l "$file" | sed -n 's/^Packet size limit: *//p' | head -n 1)" "file hdr: 40 bytes"
    equal "no packet has more, and each says what it had" \
        "$(tshark_read "$file" -T fields -e frame.len -e frame.cap_len | awk '$2 != ($1 < 40 ? $1 : 40) || $1 < 60' | grep -c .)" 0
    at_least "longest packet before it was cut" "$(tshark_read "$file" -T fields -e frame.len | sort -n | tail -n 1)" 500
}

check_signal() { # SIGNAL
    local file=$directory/$1.pcap status
    start_capture 07-apps/pcap --seconds 60 "$file"
    within 30 size_over "$file" 10000
    kill -"$1" $capture
    wait $capture
    status=$?
    equal "SIG$1 ends pcap with success" $status 0
    check "the file reads" reads "$file"
    equal "and holds as many packets as pcap says" "$(packets_of_capinfos "$file")" "$(sed -n 's/^\([0-9]*\) packets, .*/\1/p' "$directory/err")"
}

# Half of the times in a quiet network, half of them under load. What a killed program leaves of its machine is for the
# next one to put in order.
check_kill() {
    local file=$directory/killed.pcap round wire moment bad=0 packets=0
    RANDOM=$1
    for round in {1..20}; do
        rm -f "$file"
        wire=cable
        [ $((round % 2)) -eq 0 ] || wire=generator:rate=200000,size=300
        start_capture scripts/sim --wire $wire 07-apps/pcap --seconds 60 "$file"
        within 30 size_over "$file" 0
        moment=$((RANDOM % 300))
        sleep 0.$(printf '%03d' $moment)
        kill -9 $capture
        wait $capture 2>/dev/null
        within 10 no_writer "$file"
        if ! reads "$file" >"$directory/out" 2>&1; then
            bad=$((bad + 1))
            echo "round $round, killed after $moment ms: $(cat "$directory/out")"
        fi
        packets=$((packets + $(packets_of_capinfos "$file" || echo 0)))
    done
    at_least "packets in 20 files" $packets 1000
    equal "killed with -9 at 20 random moments (seed $1), the file reads each time" $bad 0
    check "and the next program finds the port free" timeout 60 07-apps/pcap --count 10 "$file"
}

# What pcap had already handed over is still being written when it is killed.
no_writer() { ! ls -l /proc/[0-9]*/fd 2>/dev/null | grep -q -- "-> $1\$"; }

if have_readers; then
    check_thousand
    check_pipes
    check_snaplen
    check_signal INT
    check_signal TERM
    check_kill $((SECONDS + $$))
fi
