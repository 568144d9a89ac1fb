# The echo: tshark judges its answers, to what the software wire asks and to what a kernel asks.

check_answers() {
    local file=$directory/answers.pcap
    check "echo answers 200 questions of the software wire" \
        timeout 60 scripts/sim --wire0 "cable,record=$file" 07-apps/echo --count 200 04:00.0
    check "tcpdump, tshark and capinfos read its answers" reads "$file"
    check "tshark finds nothing wrong with them" nothing_wrong "$file"
    equal "it has found checksums to check" "$(counted "$file" 'ip.checksum.status == 1 and icmp.checksum.status == 1') IPv4, \
$(counted "$file" 'icmpv6.checksum.status == 1') IPv6" "50 IPv4, 100 IPv6"
    equal "who has which address" "$(tshark_read "$file" -Y 'arp or icmpv6.type == 136' -T fields \
        -e arp.src.proto_ipv4 -e arp.src.hw_mac -e icmpv6.nd.na.target_address -e icmpv6.opt.linkaddr | sort -u | tr -s '\t\n' '  ')" \
        " 2001:db8::64 90:e2:ba:82:59:00 192.0.2.100 90:e2:ba:82:59:00 "
}

# A conversation with the kernel, both sides of it, as dumpcap hears it. (tcpdump would want to become another user, whom
# there is none of in there.)
converse() {
    dumpcap -q -P -i wire0 -w "$1" 2>"$directory/dumpcap.err" &
    local listener=$! status=0 address size
    within 20 grep -q '^File: ' "$directory/dumpcap.err" || return
    for address in 192.0.2.100 2001:db8::64; do
        for size in 0 1301; do ping -q -c 20 -w 20 -i 0.01 -s $size $address || status=1; done
    done
    sleep 3 # what dumpcap has not yet read
    kill -INT $listener
    wait $listener
    return $status
}

check_conversation() {
    local file=$directory/conversation.pcap status
    export directory
    export -f converse within
    timeout 60 scripts/ping bash -c 'converse "$1"' bash "$file" >"$directory/out" 2>&1
    status=$?
    if [ $status -eq 3 ]; then
        if [ "${CI:-}" = true ]; then fail "a network for scripts/ping" "$(cat "$directory/out")"; else
            skipped=$((skipped + 1))
            echo "skip - $(sed -n '1s/^ping: //p' "$directory/out")"
        fi
        return
    fi
    equal "the kernel's pings are answered while dumpcap listens" $status 0
    check "tshark finds nothing wrong with the conversation" nothing_wrong "$file"
    at_least "right answers over IPv4" "$(counted "$file" 'icmp.type == 0 and icmp.resp_to and icmp.checksum.status == 1')" 40
    at_least "right answers over IPv6" "$(counted "$file" 'icmpv6.type == 129 and icmpv6.resp_to and icmpv6.checksum.status == 1')" 40
    equal "answers to nothing" "$(counted "$file" '(icmp.type == 0 and not icmp.resp_to) or (icmpv6.type == 129 and not icmpv6.resp_to)')" 0
}

if need tshark tshark && need tcpdump tcpdump && need capinfos wireshark-common; then
    check_answers
    if need ping iputils-ping; then check_conversation; fi
fi
