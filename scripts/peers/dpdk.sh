# DPDK: its driver for the 82599 was written against the hardware. It must bring the software card up, and agree with it
# about every packet.
#
# testpmd is DPDK's test program, a small shell. It runs here in the background, and is asked one question at a time.

declare -A testpmd_pid testpmd_in
cpus=$(sed -n 's/^Cpus_allowed_list:[[:space:]]*//p' /proc/self/status)

# start_testpmd NAME 'OPTION OF scripts/sim...' 'OPTION OF DPDK...' 'OPTION OF testpmd...'
start_testpmd() {
    local name=$1 pipe=$directory/$1.in
    mkfifo "$pipe"
    : >"$directory/$name.out"
    # Open in both directions, so that a testpmd that has died does not take us with it.
    exec {testpmd_in[$name]}<>"$pipe"
    # shellcheck disable=SC2086
    timeout -k 5 300 scripts/sim $2 stdbuf -oL dpdk-testpmd --no-shconf --no-telemetry --no-huge -m 192 --iova-mode=va \
        --file-prefix "$SIM82599_MACHINE-$name" --lcores "0@($cpus),1@($cpus)" $3 -- --interactive --no-mlockall --total-num-mbufs=12288 $4 \
        <"$pipe" >"$directory/$name.out" 2>&1 &
    testpmd_pid[$name]=$!
    within 100 answered $name 'testpmd> ' && return
    fail "testpmd starts" "$(cat "$directory/$name.out")"
    return 1
}

answered() { grep -q -- "$2" "$directory/$1.out" || ! kill -0 "${testpmd_pid[$1]}" 2>/dev/null; }

# tell NAME COMMAND: what testpmd says to it. It knows no command named mark, and says so when it has come that far.
tell() {
    local name=$1 before mark=mark${EPOCHREALTIME//[.,]/}
    before=$(stat -c %s "$directory/$name.out")
    printf '%s\n%s\n' "$2" "$mark" >&"${testpmd_in[$name]}"
    within 20 answered $name "$mark"
    tail -c +$((before + 1)) "$directory/$name.out"
}

# info NAME PORT 'WHAT', statistic NAME PORT WHAT
info() { tell "$1" "show port info $2" | sed -n "s/^$3: *//p" | head -n 1; }
statistic() { tell "$1" "show port xstats $2" | sed -n "s/^$3: //p"; }
statistics_over() { [ "$(statistic "$1" "$2" "$3")" -gt "$4" ]; }
is_up() { [ "$(info "$1" "$2" 'Link status')" = "$3" ]; }

# Two things lint says rightly. DPDK 22.11 gives its memory back at exit while it is still mapped for DMA:
# rte_eal_cleanup unmaps the memory, and nothing closes the VFIO groups. And its interrupt thread, told of the link that
# goes down with the other port, unmasks LinkSec (0x200000) again while the main thread has masked all to reset the port.
# All else that the software card or DPDK complains about counts.
complaints() {
    grep -E 'sim82599: |EAL: (Error|FATAL|Cannot|Fail)|^[a-z0-9_]+\(\): |[Ff]ail(ed|ure)|Segmentation' "$directory/$1.out" |
        grep -v -e 'sim82599: lint: memory-lost' -e 'lint: reset-while-unmasked .* with EIMS=0x[23]00000$'
}

quit_testpmd() {
    local name=$1 status
    echo quit >&"${testpmd_in[$name]}"
    within 20 answered $name '^Bye'
    wait "${testpmd_pid[$name]}"
    status=$?
    exec {testpmd_in[$name]}>&-
    equal "$name: testpmd closes its ports and ends with success" \
        "$status, $(grep -c '^Port [01] is closed' "$directory/$name.out") closed, $(grep -c '^Bye' "$directory/$name.out") bye" "0, $2 closed, 1 bye"
    equal "$name: neither lint nor DPDK complains" "$(complaints $name)" ""
}

# The counters of both ports in one line: what one has sent the other has received, in packets and in bytes, and nothing
# was missed or damaged.
expect_agreement() { # NAME LEAST
    local name=$1 port other sent bytes received
    for port in 0 1; do
        other=$((1 - port))
        sent=$(statistic $name $port tx_good_packets) received=$(statistic $name $other rx_good_packets)
        at_least "$name: packets that port $port has sent" "$sent" "$2"
        equal "$name: and port $other has received" "$received" "$sent"
        bytes=$(statistic $name $port tx_good_bytes)
        equal "$name: bytes too" "$(statistic $name $other rx_good_bytes)" "$bytes"
        equal "$name: nothing missed or damaged at port $other" \
            "$(tell $name "show port xstats $other" | grep -E '_(errors|dropped|nombuf|no_dma_resources): [^0]')" ""
    done
}

# traffic NAME: the packets that port 0 has received and sent, and port 1 has received and sent.
traffic() { tell "$1" 'show port xstats all' | sed -n 's/^[rt]x_good_packets: //p' | paste -sd ' '; }

# What was on the wire has arrived: each port has received what the other has sent, and no more comes.
has_arrived() {
    local before in0 out0 in1 out1
    before=$(traffic "$1")
    read -r in0 out0 in1 out1 <<<"$before"
    [ "$in0 $in1" = "$out1 $out0" ] && [ "$(traffic "$1")" = "$before" ]
}

# circulate NAME LEAST: bursts go round and round between the ports, until so many have come in at each.
circulate() {
    tell "$1" "start tx_first" >/dev/null
    within 60 statistics_over "$1" 0 rx_good_packets "$2" && within 60 statistics_over "$1" 1 rx_good_packets "$2"
    tell "$1" stop >/dev/null
    within 20 has_arrived "$1"
}

both='-a 0000:04:00.0 -a 0000:05:00.0'

check_one_queue() { # NAME 'OPTION OF scripts/sim...' LEAST
    local name=$1 port
    start_testpmd $name "$2" "$both" '--forward-mode=io' || return
    for port in 0 1; do
        equal "$name: DPDK's ixgbe driver takes port $port, and its link is up" \
            "$(info $name $port 'Driver name'), $(info $name $port 'MAC address'), $(info $name $port 'Link status') at $(info $name $port 'Link speed')" \
            "net_ixgbe, 90:E2:BA:82:59:0$port, up at 10 Gbps"
    done
    circulate $name "$3"
    expect_agreement $name "$3"
    check_restart $name "$3"
    [ "$name" = threaded ] && check_filters $name && check_light $name && check_flow_control $name
    quit_testpmd $name 2
}

# Stopped, no port counts anything; started again, both do as before.
#
# Told of a link that changes, DPDK looks at it once more, up to four seconds later, and then wants interrupts again. If
# the port was stopped and started meanwhile, it forgets at that which ones, and never hears of its link again
# (ixgbe_dev_interrupt_delayed_handler, which ixgbe_dev_stop does not cancel). So it may look first.
check_restart() { # NAME LEAST
    local name=$1 before
    sleep 10
    before=$(statistic $name 0 tx_good_packets)
    tell $name 'port stop all' >/dev/null
    tell $name start >/dev/null
    equal "$name: a stopped port sends nothing" "$(statistic $name 0 tx_good_packets)" "$before"
    tell $name 'port start all' >/dev/null
    check "$name: started again, port 0 has a link" within 30 is_up $name 0 up
    check "$name: and so has port 1" within 30 is_up $name 1 up
    circulate $name $((before + $2))
    expect_agreement $name $((before + $2))
}

# Frames to somebody else arrive only while the port is promiscuous, frames to its own address always. In this mode
# testpmd only sends, and empties the receive rings when it starts: a ring's worth of what is taken arrives each time.
check_filters() {
    local name=$1
    tell $name 'set fwd txonly' >/dev/null
    tell $name 'set promisc all off' >/dev/null
    equal "$name: a port that is not promiscuous takes no frame to others" "$(taken $name)" 0
    tell $name 'set eth-peer 0 90:E2:BA:82:59:01' >/dev/null
    at_least "$name: but those to itself" "$(taken $name)" 200
    tell $name 'set eth-peer 0 02:00:00:00:00:00' >/dev/null
    tell $name 'set promisc all on' >/dev/null
    at_least "$name: and a promiscuous one takes all" "$(taken $name)" 200
}

# taken NAME: the number of frames that port 1 takes while port 0 sends at least 1000.
taken() {
    local sent taken
    sent=$(statistic $1 0 tx_good_packets) taken=$(statistic $1 1 rx_good_packets)
    tell $1 start >/dev/null
    within 10 statistics_over $1 0 tx_good_packets $((sent + 1000)) || echo "nothing was sent"
    sleep 0.2
    tell $1 stop >/dev/null
    echo $(($(statistic $1 1 rx_good_packets) - taken))
}

check_light() {
    local name=$1
    tell $name 'set link-down port 1' >/dev/null
    check "$name: with port 1's laser off, port 0 has no link" within 30 is_up $name 0 down
    tell $name 'set link-up port 1' >/dev/null
    check "$name: and with the laser on it has" within 30 is_up $name 0 up
    check "$name: and so has port 1" within 30 is_up $name 1 up
}

# Nobody receives in this mode. The packet buffer fills, port 1 asks for a pause, and port 0 must keep the rest.
check_flow_control() {
    local name=$1 port missed
    for port in 0 1; do
        tell $name "set flow_ctrl rx on tx on 300 100 65535 0 mac_ctrl_frame_fwd off autoneg on $port" >/dev/null
    done
    tell $name 'set fwd txonly' >/dev/null
    missed=$(statistic $name 1 rx_missed_errors)
    tell $name start >/dev/null
    within 20 statistics_over $name 1 tx_xoff_packets 0
    sleep 0.5  # it has more to keep
    tell $name stop >/dev/null
    at_least "$name: with flow control, pauses that a port asks for when nobody takes its packets" "$(statistic $name 1 tx_xoff_packets)" 1
    equal "$name: and misses none" "$(statistic $name 1 rx_missed_errors)" "$missed"
}

# Frames of 9018 bytes, which leave in five pieces and come in in five buffers, through four queues that RSS fills.
check_queues_and_jumbo() {
    local name=jumbo port queue frames
    start_testpmd $name '' "$both" '--forward-mode=io --rxq=4 --txq=4 --txonly-multi-flow --max-pkt-len=9018 --enable-scatter --tx-offloads=0x8000' || return
    equal "$name: the MTU" "$(info $name 0 MTU)" 9000
    for port in 0 1; do
        for queue in 0 1 2 3; do tell $name "set stat_qmap rx $port $queue $queue" >/dev/null; done
    done
    tell $name 'set txpkts 2000,2000,2000,2000,1014' >/dev/null
    circulate $name 2000
    expect_agreement $name 2000
    frames=$(statistic $name 0 rx_good_packets)
    equal "$name: every frame is whole" "$(statistic $name 0 rx_good_bytes)" $((frames * 9014))
    for queue in 0 1 2 3; do at_least "$name: RSS leads packets to queue $queue" "$(statistic $name 1 rx_q${queue}_packets)" 100; done
    quit_testpmd $name 2
}

# DPDK's flow rules become Ethernet type and 5-tuple filters of the card. The port hears a small office network, in which
# host 21 (0x15) asks host 53 (0x35) for names. Of each packet DPDK tells addresses, type and queue.
check_flow_rules() {
    local name=rules rule
    start_testpmd $name '' '-a 0000:05:00.0' '--forward-mode=rxonly --rxq=4 --txq=4 --disable-rss' || return
    tell $name start >/dev/null
    for rule in 'eth type is 0x0806 / end actions queue index 2' \
        'eth / ipv4 src is 192.0.2.53 / udp src is 53 / end actions queue index 1' \
        'eth / ipv4 dst is 192.0.2.53 / udp dst is 53 / end actions queue index 3'; do
        equal "$name: DPDK makes one of: $rule" \
            "$(tell $name "flow create 0 ingress pattern $rule / end" | grep -c '^Flow rule #[0-9]* created')" 1
    done
    equal "$name: each kind of packet comes to its queue" "$(kinds_and_queues $name)" \
        "ARP in 0x2, answer in 0x1, other in 0x0, question in 0x3"
    tell $name 'flow flush 0' >/dev/null
    equal "$name: without rules all come to the first" "$(kinds_and_queues $name)" \
        "ARP in 0x0, answer in 0x0, other in 0x0, question in 0x0"
    tell $name stop >/dev/null
    quit_testpmd $name 1
}

kinds_and_queues() { # NAME
    local before
    sleep 3 # what came earlier has been taken
    before=$(stat -c %s "$directory/$1.out")
    tell $1 'set verbose 1' >/dev/null
    sleep 5
    tell $1 'set verbose 0' >/dev/null
    tail -c +$((before + 1)) "$directory/$1.out" | awk '
        / - type=0x.* - Receive queue=0x/ {
            kind = "other"
            if (/ type=0x0806 /) kind = "ARP"
            else if (/L3_IPV4 L4_UDP/ && /src=02:00:00:00:02:35 - dst=02:00:00:00:02:15 /) kind = "answer"
            else if (/L3_IPV4 L4_UDP/ && /src=02:00:00:00:02:15 - dst=02:00:00:00:02:35 /) kind = "question"
            print kind " in " substr($0, match($0, /queue=0x/) + 6, 3)
        }' | sort -u | paste -sd , | sed 's/,/, /g'
}

# What comes in at port 0 at a steady pace leaves at port 1, every frame of it, through four queues that RSS fills. It is
# no more than the card's packet buffer holds, since it comes as soon as the port is up, and testpmd starts when it can.
check_paced_forwarding() {
    local name=paced source=$directory/paced.pcap file=$directory/forwarded.pcap
    check "$name: frames to port 0, 500 a second" timeout 60 scripts/sim --wire generator:rate=500,flows=64,size=300 07-apps/pcap --count 1500 "$source" 04:00.0
    start_testpmd $name "--wire0 replay:$source --wire1 sink,record=$file" "$both" '--forward-mode=io --rxq=4 --txq=4 --no-flush-rx' || return
    # What waits already when it starts can be more than a TX ring takes at once, and testpmd drops what it has tried in vain.
    tell $name 'set fwd io retry' >/dev/null
    tell $name 'set burst tx delay 100 retry 1000' >/dev/null
    tell $name start >/dev/null
    within 30 statistics_over $name 1 tx_good_packets 1499
    tell $name stop >/dev/null
    equal "$name: packets in at port 0 and out at port 1" "$(statistic $name 0 rx_good_packets), $(statistic $name 1 tx_good_packets)" "1500, 1500"
    equal "$name: nothing missed or damaged" "$(tell $name "show port xstats 0" | grep -E '_(errors|dropped|nombuf|no_dma_resources): [^0]')" ""
    quit_testpmd $name 2
    frame_bytes "$source" 1 1514 | sort >"$directory/expected"
    frame_bytes "$file" 1 1514 | sort >"$directory/received"
    check "$name: byte for byte" cmp "$directory/expected" "$directory/received"
}

# ---- DPDK at one end of the cable, we at the other -------------------------------------------------------------------

# capture_on FILE [OPTION]...: pcap on port 1 in the background, in $capture.
capture_on() {
    local file=$1
    shift
    : >"$directory/err" # it may still say of the last one that it is capturing
    timeout 200 scripts/sim --wire cable,alone=quiet 07-apps/pcap --seconds 180 "$@" "$file" 2>"$directory/err" </dev/null &
    capture=$!
    within 30 grep -q '^capturing' "$directory/err"
}

check_dpdk_sends() {
    local name=sender file=$directory/dpdk.pcap
    capture_on "$file" --count 5000
    start_testpmd $name '--wire cable,alone=quiet' '-a 0000:04:00.0' '--forward-mode=txonly' || return
    tell $name start >/dev/null
    wait $capture
    equal "$name: pcap captures 5000 packets from DPDK" "$?, $(grep -o '^[0-9]* packets' "$directory/err")" "0, 5000 packets"
    tell $name stop >/dev/null
    equal "$name: all alike, as DPDK's txonly sends them" "$(frame_bytes "$file" 1 1514 | sort -u | cut -c1-68)" \
        "02000000000090e2ba825900080045000032000000004011ee93c6120001c6120002"
    if command -v tshark >/dev/null; then check "$name: tshark finds nothing wrong with them" nothing_wrong "$file"; fi
    quit_testpmd $name 1
}

check_dpdk_receives() {
    local name=receiver
    start_testpmd $name '--wire cable,alone=quiet' '-a 0000:05:00.0' '--forward-mode=rxonly' || return
    tell $name 'set flow_ctrl rx on tx on 300 100 65535 0 mac_ctrl_frame_fwd off autoneg on 0' >/dev/null
    tell $name start >/dev/null
    check "$name: loopsend sends 100000 packets" timeout 60 07-apps/loopsend --count 100000
    within 30 statistics_over $name 0 rx_good_packets 99999
    tell $name stop >/dev/null
    equal "$name: DPDK receives every one, whole" \
        "$(statistic $name 0 rx_good_packets) packets, $(statistic $name 0 rx_good_bytes) bytes, $(statistic $name 0 rx_missed_errors) missed" \
        "100000 packets, 6000000 bytes, 0 missed"
    quit_testpmd $name 1
}

# DPDK takes packets from a file, leaves their checksums to the card, and sends them. What the card has put in must be
# what was in the file; only the Ethernet addresses are DPDK's. With segmentation, it is tshark that judges.
check_offloads() {
    local name=checksums source=$directory/source.pcap file=$directory/offloads.pcap
    ls /usr/lib/*/dpdk/pmds-*/librte_net_pcap.so* >/dev/null 2>&1 || need DPDK\'s\ net_pcap dpdk || return
    need tshark tshark || return
    check "$name: a mix of traffic, captured" timeout 60 07-apps/pcap --count 600 "$source"
    send_file $name ''
    frame_bytes "$source" 13 1514 >"$directory/expected"
    frame_bytes "$file" 13 1514 >"$directory/received"
    equal "$name: packets that arrive" "$(grep -c . "$directory/received")" 600
    check "$name: the card's checksums are the senders'" cmp "$directory/expected" "$directory/received"

    send_file segments 'tso set 300 0'
    check "segments: tshark finds nothing wrong with segmented TCP" nothing_wrong "$file"
    equal "segments: no packet has more than 300 bytes of TCP" "$(counted "$file" 'tcp.len > 300')" 0
    at_least "segments: packets that have exactly so many" "$(counted "$file" 'tcp.len == 300')" 30
    at_least "segments: pages that tshark reassembles from them" "$(counted "$file" 'http.response.code == 200')" 10
}

# has_settled FILE: it does not grow any more.
has_settled() {
    local before
    before=$(stat -c %s "$1")
    sleep 1
    [ "$(stat -c %s "$1")" = "$before" ]
}

send_file() { # NAME 'COMMAND'
    local name=$1 command
    capture_on "$file"
    start_testpmd $name '--wire cable,alone=quiet' "-a 0000:04:00.0 --vdev net_pcap0,rx_pcap=$source,tx_pcap=/dev/null" \
        '--forward-mode=csum --no-flush-rx --txd=4096 --max-pkt-len=1600' || return
    tell $name 'port stop all' >/dev/null
    for command in 'csum set ip hw 0' 'csum set udp hw 0' 'csum set tcp hw 0' "$2"; do tell $name "$command" >/dev/null; done
    tell $name 'port start all' >/dev/null
    within 30 is_up $name 0 up
    tell $name start >/dev/null
    within 30 statistics_over $name 0 tx_good_packets 599
    within 20 has_settled "$file"
    tell $name stop >/dev/null
    kill -TERM $capture
    wait $capture
    quit_testpmd $name 2
}

if need dpdk-testpmd dpdk-dev; then
    check_one_queue threaded '' 5000
    check_one_queue stepped '--mode stepped' 2000
    check_queues_and_jumbo
    check_flow_rules
    check_paced_forwarding
    check_dpdk_sends
    check_dpdk_receives
    check_offloads
fi
