package sandbox

import (
	"slices"
	"strings"

	"github.com/google/uuid"
)

// command is one row of the manual's table of drive commands (manual 7, 6.1).
type command struct {
	run func(*Server, *request) (response, error)
	// input: the command reads a body and is POST only (manual 5). The others are GET or POST, and ignore a body.
	input bool
	// args is how many path elements may follow.
	args int
	// unknown is the status when the path's drive does not exist; 404 unless set.
	unknown int
	// own: library drives do not exist for this command.
	own bool
	// faults lists the faults with a percentage that may hit the command.
	faults []faultKind
	// repeatable: done twice is done once, so a 504 may come after it took effect.
	repeatable bool
}

var anyCommand = []faultKind{faultReset, faultFailure, faultTimeout}

func withFaults(more ...faultKind) []faultKind { return append(slices.Clone(anyCommand), more...) }

var (
	profileInfo = &command{run: (*Server).profileInfo}

	driveList = &command{run: (*Server).listDrives, faults: anyCommand}
	drivesAll = &command{run: (*Server).infoDrives, faults: anyCommand}
	driveMake = &command{run: (*Server).createDrive, input: true, faults: anyCommand}

	standardList = &command{run: (*Server).listStandard, faults: anyCommand}
	standardAll  = &command{run: (*Server).infoStandard, faults: anyCommand}
	standardInfo = &command{run: (*Server).infoDrive, faults: anyCommand}
)

// driveCommands are what may follow /drives/UUID.
var driveCommands = map[string]*command{
	"info": {run: (*Server).infoDrive, faults: anyCommand},
	"set": {
		run: (*Server).setDrive, input: true, own: true, repeatable: true,
		faults: withFaults(faultConflict),
	},
	"clone": {
		run: (*Server).cloneDrive, input: true, unknown: 400, // manual 7.4
		faults: withFaults(faultConflict),
	},
	"destroy": {
		run: (*Server).destroyDrive, own: true, repeatable: true,
		faults: withFaults(faultConflict),
	},
	"write": {
		run: (*Server).writeDrive, input: true, args: 1, own: true, repeatable: true,
		faults: withFaults(faultConflict, faultTruncate, faultCorruptWrite),
	},
	"read": {
		run: (*Server).readDrive, args: 2,
		faults: withFaults(faultConflict, faultTruncate, faultCorruptRead),
	},
}

var bothMedia = []medium{mediumImage, mediumCD}

// route is a path that names a command.
type route struct {
	*command
	drive string   // UUID in lower case, empty if the command is about no single drive
	media []medium // where a standard command looks
	args  []string
}

// match reads a path; false: there is no such command, or a UUID in it is malformed. Leading slashes count as one,
// because scripts configure the base address with a slash at its end.
func match(path string) (route, bool) {
	parts := strings.Split(strings.TrimLeft(path, "/"), "/")
	switch {
	case len(parts) == 2 && parts[0] == "profile" && parts[1] == "info":
		return route{command: profileInfo}, true
	case len(parts) < 2 || parts[0] != "drives":
		return route{}, false
	}
	parts = parts[1:]
	if parts[0] == "standard" {
		return matchStandard(parts[1:])
	}
	if len(parts) == 1 {
		switch parts[0] {
		case "list":
			return route{command: driveList}, true
		case "info":
			return route{command: drivesAll}, true
		case "create":
			return route{command: driveMake}, true
		}
		return route{}, false
	}
	id, ok := parseUUID(parts[0])
	c := driveCommands[parts[1]]
	args := parts[2:]
	if !ok || c == nil || len(args) > c.args {
		return route{}, false
	}
	return route{command: c, drive: id, args: args}, true
}

// matchStandard reads what follows /drives/standard: list, info, MEDIUM/list, MEDIUM/info, MEDIUM/UUID/info.
func matchStandard(parts []string) (route, bool) {
	media := bothMedia
	if len(parts) > 1 {
		media = []medium{medium(parts[0])}
		if parts = parts[1:]; !slices.Contains(bothMedia, media[0]) {
			return route{}, false
		}
	}
	switch {
	case len(parts) == 1 && parts[0] == "list":
		return route{command: standardList, media: media}, true
	case len(parts) == 1 && parts[0] == "info":
		return route{command: standardAll, media: media}, true
	case len(parts) == 2 && len(media) == 1 && parts[1] == "info":
		id, ok := parseUUID(parts[0])
		return route{command: standardInfo, drive: id, media: media}, ok
	}
	return route{}, false
}

// target finds the drive that the route names.
func (s *Server) target(to route) (*drive, error) {
	status := to.unknown
	if status == 0 {
		status = 404
	}
	var d *drive
	switch {
	case to.drive == "":
		return nil, nil
	case to.media != nil:
		d = s.standard.find(to.drive, to.media...)
	default:
		if d, _ = s.drives.find(to.drive); d == nil && !to.own {
			if d = s.standard.known(to.drive); d == nil {
				d = s.standard.find(to.drive, bothMedia...)
			}
		}
	}
	if d == nil {
		return nil, notFound(status, to.drive)
	}
	return d, nil
}

// parseUUID returns s in lower case, or false if it does not have the form 8-4-4-4-12 hexadecimal digits: the other
// forms that uuid.Parse takes have other lengths.
func parseUUID(s string) (string, bool) {
	id, err := uuid.Parse(s)
	if err != nil || len(s) != 36 {
		return "", false
	}
	return id.String(), true
}
