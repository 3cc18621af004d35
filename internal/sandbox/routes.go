package sandbox

// commands is the table of all commands, by section of the manual. A path matches at most one of
// them.
func (s *Server) commands() []command {
	var (
		none    possibleFaults
		plain   = possibleFaults{kinds: []faultKind{faultReset, faultFailure, faultTimeout}}
		cloning = plain.and(faultConflict)
		change  = cloning.idempotent()
		writing = change.and(faultTruncate, faultCorruptWrite)
		reading = cloning.and(faultTruncate, faultCorruptRead)
	)
	const (
		servers = "{servers:servers|guests|guest}/"
		groups  = "{groups:servergroups|servergroupss}/" // the manual spells both
	)
	return []command{
		// Profile (manual 6)
		{"profile/info", getOrPost, onNone(s.profileInfo), none},
		{"profile/set", postOnly, onNone(s.setProfile), plain.idempotent()},

		// Drives (manual 7)
		{"drives/list", getOrPost, onNone(s.listDrives), plain},
		{"drives/info", getOrPost, onNone(s.infoDrives), plain},
		{"drives/create", postOnly, onNone(s.createDrive), plain},
		{"drives/{uuid}/info", getOrPost, onObject(s.anyDrive, s.infoDrive), plain},
		{"drives/{uuid}/set", postOnly, onObject(s.ownDrive, s.setDrive), change},
		{"drives/{uuid}/clone", postOnly, onObject(s.cloneSource, s.cloneDrive), cloning},
		{"drives/{uuid}/destroy", getOrPost, onObject(s.ownDrive, s.destroyDrive), change},
		{"drives/{uuid}/write/{offset?}", postOnly, onObject(s.ownDrive, s.writeDrive), writing},
		{"drives/{uuid}/read/{offset?}/{size?}", getOrPost, onObject(s.anyDrive, s.readDrive), reading},

		{"drives/standard/list", getOrPost, onNone(s.listStandard), plain},
		{"drives/standard/info", getOrPost, onNone(s.infoStandard), plain},
		{"drives/standard/{medium:img|cd}/list", getOrPost, onNone(s.listStandard), plain},
		{"drives/standard/{medium:img|cd}/info", getOrPost, onNone(s.infoStandard), plain},
		{"drives/standard/{medium:img|cd}/{uuid}/info", getOrPost, onObject(s.standardDrive, s.infoDrive), plain},

		// Servers (manual 8)
		{servers + "list", getOrPost, onNone(s.listServers), plain},
		{servers + "info", getOrPost, onNone(s.infoServers), plain},
		{servers + "create", postOnly, onNone(s.createServer), plain},
		{servers + "create/stopped", postOnly, onNone(s.createStopped), plain},
		{servers + "start", postOnly, s.onServers(s.startServers), change},
		{servers + "stop", postOnly, s.onServers(s.stopServers), change},
		{servers + "destroy", postOnly, s.onServers(s.destroyServers), change},
		{servers + "{uuid}/info", getOrPost, onObject(s.ownServer, s.infoServer), plain},
		{servers + "{uuid}/set", postOnly, onObject(s.ownServer, s.setServer), change},
		{servers + "{uuid}/clone", postOnly, onObject(s.ownServer, s.cloneServer), cloning},
		{servers + "{uuid}/destroy", getOrPost, onObject(s.ownServer, s.destroyServer), change},
		{servers + "{uuid}/start", getOrPost, s.onServer(s.startServer), change},
		{servers + "{uuid}/stop", getOrPost, s.onServer(s.stopServer), change},
		{servers + "{uuid}/shutdown", getOrPost, s.onServer(s.shutdownServer), change},
		{servers + "{uuid}/reset", getOrPost, s.onServer(s.resetServer), change},

		// Resources (manual 9)
		{"resources/list", getOrPost, onNone(s.listResources), plain},
		{"resources/info", getOrPost, onNone(s.infoResources), plain},
		{"resources/vlan/list", getOrPost, onNone(s.listVLANs), plain},
		{"resources/vlan/info", getOrPost, onNone(s.infoVLANs), plain},
		{"resources/vlan/create", postOnly, onNone(s.createVLAN), plain},
		{"resources/vlan/{uuid}/info", getOrPost, onLocked(s, s.ownVLAN, s.infoVLAN), plain},
		{"resources/vlan/{uuid}/set", postOnly, onLockedInput(s, s.ownVLAN, s.setVLAN), change},
		{"resources/vlan/{uuid}/destroy", getOrPost, onLocked(s, s.ownVLAN, s.destroyVLAN), change},
		{"resources/ip/list", getOrPost, onNone(s.listAddresses), plain},
		{"resources/ip/info", getOrPost, onNone(s.infoAddresses), plain},
		{"resources/ip/create", getOrPost, onNone(s.createAddress), plain},
		{"resources/ip/{ip}/info", getOrPost, onLocked(s, s.ownAddress, s.infoAddress), plain},
		{"resources/ip/{ip}/destroy", getOrPost, onLocked(s, s.ownAddress, s.destroyAddress), change},
		{"resources/{ip}/destroy", getOrPost, onLocked(s, s.ownAddress, s.destroyAddress), change},

		// Server groups (manual 10)
		{groups + "list", getOrPost, onNone(s.listGroups), plain},
		{groups + "create", postOnly, onNone(s.createGroup), plain},
		{groups + "{uuid}/info", getOrPost, onLocked(s, s.ownGroup, s.infoGroup), plain},
		{groups + "{uuid}/set", postOnly, onLockedInput(s, s.ownGroup, s.setGroup), change},
		{groups + "{uuid}/destroy", getOrPost, onLocked(s, s.ownGroup, s.destroyGroup), change},
		{groups + "{uuid}/add", postOnly, onLockedInput(s, s.ownGroup, s.addToGroup), change},
		{groups + "{uuid}/remove", postOnly, onLockedInput(s, s.ownGroup, s.removeFromGroup), change},
		{groups + "{uuid}/start", getOrPost, onLocked(s, s.ownGroup, s.startGroup), change},
		{groups + "{uuid}/stop", getOrPost, onLocked(s, s.ownGroup, s.stopGroup), change},

		// Billing (manual 11)
		{"currencies/list", getOrPost, onNone(s.listCurrencies), plain},
		{"usage/info", getOrPost, onNone(s.usageInfo), plain},
		{"pricing/info", getOrPost, onNone(s.pricingInfo), plain},
		{"transactions/list", getOrPost, onNone(s.listTransactions), plain},
		{"balance/info", getOrPost, onNone(s.balanceInfo), plain},
		{"subscriptions/list", getOrPost, onNone(s.listSubscriptions), plain},
		{"subscriptions/resources/info", getOrPost, onNone(s.infoResourceSubscriptions), plain},
		{"subscriptions/resources/create", postOnly, onNone(s.subscribeToResources), plain},
		{"subscriptions/net/info", getOrPost, onNone(s.infoNetSubscriptions), plain},
		{"subscriptions/network/ip/create", postOnly, onNone(s.subscribeToIPs), plain},
		{"subscriptions/network/ip/calculate", postOnly, onNone(s.calculateIPs), plain},
		{"subscriptions/network/vlan/create", postOnly, onNone(s.subscribeToVLANs), plain},
		{"subscriptions/network/vlan/calculate", postOnly, onNone(s.calculateVLANs), plain},
		{"subscriptions/software/create", postOnly, onNone(s.subscribeToSoftware), plain},
		{"subscriptions/software/calculate", postOnly, onNone(s.calculateSoftware), plain},
		{"subscriptions/{uuid}/set", postOnly, onObject(s.namedSubscription, s.extendSubscription), plain},
		{"subscriptions/{uuid}/set/calculate", postOnly, onObject(s.namedSubscription, s.calculateExtension), plain},
	}
}
