# After all that, both ports work with Linux's ixgbe as they did at the start.

for address in $port0 $port1; do expect "$address is driven by" "$(driver_of $address)" ixgbe; done
check "two namespaces, one port in each, with link" connect || return
check "ping" left ping -c 10 -i 0.1 -w 10 10.0.0.2
check "the ports come home" disconnect
