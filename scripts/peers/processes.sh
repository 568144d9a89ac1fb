# Two processes on one cable: pcap in the one must have, byte for byte, what loopsend in the other must have sent.
#
# What that is follows from the protocols and from loopsend's documentation, and is spelled out here once more.

# expected_frames COUNT: frames in hexadecimal, a line each.
expected_frames() {
    awk -v count="$1" 'BEGIN {
        ethernet = "ffffffffffff" "90e2ba825900" "0800"
        ip = "4500" "002e" "0000" "4000" "40" "11" "ae97" "c6120001" "c6120002"
        udp = "0009" "0009" "001a" "0000"
        for (n = 0; n < count; n++) {
            number = inverse = ""
            rest = n
            for (i = 0; i < 8; i++) {
                byte = rest % 256
                rest = (rest - byte) / 256
                number = number sprintf("%02x", byte)
                inverse = inverse sprintf("%02x", 255 - byte)
            }
            print ethernet ip udp number inverse "3a3b"
        }
    }'
}

check_exchange() {
    local file=$directory/exchange.pcap status
    : >"$directory/err" # it may still say of the last one that it is capturing
    timeout 60 scripts/sim --wire cable,alone=quiet 07-apps/pcap --count 100000 --seconds 50 "$file" 2>"$directory/err" </dev/null &
    local capture=$!
    within 20 grep -q '^capturing' "$directory/err"
    check "loopsend sends 100000 packets in one process" timeout 60 07-apps/loopsend --count 100000
    wait $capture
    status=$?
    equal "pcap in another receives 100000 and misses none" "$status, $(grep -o '^[0-9]* packets\|missed [0-9]*' "$directory/err" | paste -sd' ')" \
        "0, 100000 packets missed 0"
    frame_bytes "$file" 1 1514 >"$directory/received"
    expected_frames 100000 >"$directory/expected"
    check "byte for byte what must have been sent" cmp "$directory/received" "$directory/expected"
    if command -v tshark >/dev/null && command -v tcpdump >/dev/null && command -v capinfos >/dev/null; then
        check "tcpdump, tshark and capinfos read the file" reads "$file"
        check "tshark finds nothing wrong with it" nothing_wrong "$file"
    fi
}

check_exchange
