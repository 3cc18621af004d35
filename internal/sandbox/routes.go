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
	return []command{
		// Profile (manual 6)
		{"profile/info", getOrPost, onNone(s.profileInfo), none},

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
	}
}
