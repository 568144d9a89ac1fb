# Offloads: what the card makes of packets with requests, on the wire and judged by tshark. The packets are those of
# 05-ixgbe/test_offload, which checks them too, with checksums of its own.

sent=$directory/offload.pcap

send_part() { timeout 120 scripts/sim --mode stepped --wire0 "cable,record=$sent" build/05-ixgbe/test_offload "$1"; }
count_sent() { tshark_read "$sent" "${how[@]}" -o sctp.checksum:CRC-32C -Y "$1" -T fields -e frame.number | grep -c .; }

# 24 kinds of packet: IPv4 and IPv6, with and without VLAN tag, three protocols, with and without options. Each is sent
# in eight lengths with a request, and once without, with what then are wrong checksums.
check_checksums() {
    check "24 kinds of packet are sent with a request for checksums, and once without" send_part checksums
    for protocol in tcp udp sctp; do
        equal "tshark finds $protocol checksums right that the card was asked for, and wrong that it was not" \
            "$(count_sent "$protocol.checksum.status == 1") right, $(count_sent "$protocol.checksum.status == 0") wrong" "64 right, 8 wrong"
    done
    equal "the same for IPv4 headers" \
        "$(count_sent 'ip.checksum.status == 1') right, $(count_sent 'ip.checksum.status == 0') wrong" "96 right, 12 wrong"
}

# In the long sends, byte n is 31 n + n/256; the sequence number of a segment says which n it begins with.
judge_data() {
    tshark_read "$sent" -o tcp.desegment_tcp_streams:FALSE -Y 'tcp.len > 0' -T fields -e tcp.seq_raw -e tcp.payload | awk '
        BEGIN { for (i = 0; i < 256; i++) value[sprintf("%02x", i)] = i }
        {
            for (i = 0; i < length($2) / 2; i++) {
                n = $1 - 268435456 + i
                if (value[substr($2, 2 * i + 1, 2)] != (n * 31 + int(n / 256)) % 256) wrong++
            }
            bytes += length($2) / 2
        }
        END { print bytes " bytes, " wrong + 0 " wrong" }'
}

check_segments() {
    check "72 long sends of TCP data, up to 65400 bytes, are cut by the card" send_part segments
    equal "every segment's checksums are right" "$(count_sent 'tcp.checksum.status != 1 or ip.checksum.status == 0')" 0
    equal "put together again they are the data" "$(judge_data)" "1353616 bytes, 0 wrong"
    equal "none is longer than it may be" "$(count_sent 'frame.len > 1518')" 0
}

if need tshark tshark; then
    check_checksums
    check_segments
fi
