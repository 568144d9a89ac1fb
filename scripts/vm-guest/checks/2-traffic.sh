# Linux at both ends of the cable, each port in a network namespace of its own, does what networks are for.

# nc hands the connection to a program: what the sender's writes, the receiver's reads.
transfer() { # FILE, from left to right over TCP
    ip netns exec right nc -l -p 5000 -e dd of=/tmp/received bs=64k 2>/dev/null &
    within 30 is_listening 5000
    left timeout 120 nc 10.0.0.2 5000 -e cat "$1"
    timeout 20 sh -c "while kill -0 $!; do sleep 0.1; done" 2>/dev/null || kill $!
    sent=$(sha256sum <"$1")
    received=$(sha256sum </tmp/received)
    rm -f /tmp/received
    [ "$sent" = "$received" ] || { echo "sent $sent, received $received"; return 1; }
}

is_listening() { right netstat -ltn | grep -q ":$1 "; } # PORT

megabytes() { # HOW MANY of random data
    head -c "${1}000000" /dev/urandom >/tmp/data
    local start=$(cut -d ' ' -f 1 /proc/uptime)
    transfer /tmp/data || return
    awk -v start="$start" -v size="$1" '{ printf "%d MB in %.1f s, %.0f Mbit/s\n", size, $1 - start, 8 * size / ($1 - start) }' \
        /proc/uptime
    rm /tmp/data
}

# Many flows: their ports differ, so the hash of their addresses does, so they land in different queues.
many_flows() {
    local connected=0
    ip netns exec right nc -ll -p 5001 -e true &
    within 30 is_listening 5001
    for _ in $(seq 48); do left timeout 30 nc 10.0.0.2 5001 -e true && connected=$((connected + 1)); done
    kill $!
    echo "$connected of 48 have connected"
    [ $connected = 48 ]
}

four_queues() {
    left ethtool -L port0 combined 4 && right ethtool -L port1 combined 4 && both_have_link
}

busy_queues() { right ethtool -S port1 | grep -E 'rx_queue_[0-3]_packets: [1-9]' ; }
all_four_busy() {
    busy_queues
    [ "$(busy_queues | wc -l)" = 4 ]
}

vlan() {
    left ip link add link port0 name vlan7 type vlan id 7 && left ip addr add 10.7.0.1/24 dev vlan7 || return
    right ip link add link port1 name vlan7 type vlan id 7 && right ip addr add 10.7.0.2/24 dev vlan7 || return
    left ip link set vlan7 up && right ip link set vlan7 up || return
    left ping -c 5 -i 0.2 -w 10 10.7.0.2
}
no_vlan() { left ip link del vlan7 && right ip link del vlan7; }

big_frames() {
    left ip link set port0 mtu 9000 && right ip link set port1 mtu 9000 && both_have_link || return
    left ping -c 5 -i 0.2 -w 10 -s 8972 10.0.0.2
}

# Without IPv6, which greets at each link, now or up to a second later. A frame that waits when the link goes makes
# the driver reset its NIC and say so: rightly, but it is noise here.
fifty_times_down_and_up() {
    local count side
    for side in left right; do $side sh -c 'echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6'; done
    for count in $(seq 50); do
        left ip link set port0 down && left ip link set port0 up && both_have_link && continue
        echo "no link after time $count"
        return 1
    done
}

count_errors() { # whatever counter speaks of trouble and is not zero
    for side in left:port0 right:port1; do
        ip netns exec ${side%:*} ethtool -S ${side#*:} | grep -E 'err|drop|miss|fail|no_buf|no_dma|timeout|collis|over' |
            grep -vE ': 0$|fdir_miss' | sed "s/^/${side#*:}/"
    done
}
no_errors_counted() {
    count_errors >/tmp/errors
    cat /tmp/errors
    [ ! -s /tmp/errors ]
}

check "two namespaces, one port in each, with link" connect || return
check "ping" left ping -c 10 -i 0.1 -w 10 10.0.0.2
check "ping over IPv6" left ping -6 -c 10 -i 0.1 -w 10 fd00::2
check "100 MB over TCP arrive as they were" megabytes 100
indent <"$output"
check "VLAN 7" vlan
check "the VLAN ends" no_vlan
check "four queues" four_queues
check "48 flows" many_flows
check "all four queues received" all_four_busy
show busy_queues
check "frames of 9000 bytes" big_frames
check "20 MB over TCP in such frames" megabytes 20
indent <"$output"
check "no errors in ethtool -S" no_errors_counted
check "link down and up fifty times" fifty_times_down_and_up
check "ping after that" left ping -c 10 -i 0.1 -w 10 10.0.0.2
check "the ports come home" disconnect
