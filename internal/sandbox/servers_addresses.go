package sandbox

import "strconv"

// The dynamic addresses (TEST-NET-2 of RFC 5737) have this prefix and a last part in this range.
const (
	dynamicPrefix = "198.51.100."
	dynamicFirst  = 2
	dynamicLast   = 254
)

// chooseAddress is the address of v while it runs: that of nic:0:dhcp, or a dynamic one if
// nic:0:dhcp or vnc:ip is auto, else none. The caller holds mu.
func (st *serverStore) chooseAddress(v *virtualServer) (string, error) {
	used := make(map[string]string)
	for _, other := range st.list() {
		if other.running() && other.address != "" {
			used[other.address] = other.id
		}
	}
	dhcp, _ := v.keys.get(keyDHCP)
	vnc, _ := v.keys.get(keyVNC)
	switch {
	case dhcp != "" && dhcp != addressAuto:
		if other, ok := used[dhcp]; ok {
			return "", busy(kindIP, dhcp, "server "+other+" has it")
		}
		return dhcp, nil
	case dhcp == addressAuto || vnc == addressAuto:
		return st.leaseAddress(used)
	}
	return "", nil
}

// leaseAddress is the next dynamic address that is not used. Like that of a real DHCP server, it is
// another one than before: clients must not rely on it.
func (st *serverStore) leaseAddress(used map[string]string) (string, error) {
	for range dynamicLast - dynamicFirst + 1 {
		if st.lease++; st.lease < dynamicFirst || st.lease > dynamicLast {
			st.lease = dynamicFirst
		}
		address := dynamicPrefix + strconv.Itoa(st.lease)
		if _, ok := used[address]; !ok {
			return address, nil
		}
	}
	return "", busy("Network", dynamicPrefix+"0/24", "it has no free address")
}
