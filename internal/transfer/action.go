package transfer

import "errors"

// Action is what a job does with its source and target. It follows from the kind of the job, and
// for a clone from whether both drives are on one endpoint. An endpoint may refuse to copy a drive
// in use, so the worker copies it for ModeLive.
type Action struct {
	// Writes says that chunks are written to the target; otherwise the target is only compared with
	// the source.
	Writes bool
	// EndpointCopies says that the target's endpoint copies the source by itself, before the two
	// are compared.
	EndpointCopies bool
	// RereadsSource and RereadsTarget say which ends a full verification reads once more. Only a
	// second read shows a bit that was flipped between a drive and this host, or an error of a disk
	// whose host caches writes.
	RereadsSource, RereadsTarget bool
	// MovesServer says that the job moves a server. It moves no bytes itself: other jobs copy the
	// drives.
	MovesServer bool
}

// cloneInPlace is the row of a clone within one endpoint. No job has it as its kind.
const cloneInPlace Kind = "clone in place"

var actions = map[Kind]Action{
	Upload:       {Writes: true, RereadsTarget: true},
	Download:     {Writes: true, RereadsSource: true, RereadsTarget: true},
	Clone:        {Writes: true, RereadsSource: true, RereadsTarget: true},
	cloneInPlace: {EndpointCopies: true},
	Verify:       {},
	Migrate:      {MovesServer: true},
}

// Action returns what the job does.
func (s *Spec) Action() Action {
	if s.Kind == Clone && s.Source.Endpoint == s.Target.Endpoint && s.Mode != ModeLive {
		return actions[cloneInPlace]
	}
	return actions[s.Kind]
}

// Valid reports whether k is one of the kinds.
func (k Kind) Valid() bool {
	_, ok := roles[k]
	return ok
}

// role is what the source or target of a job must be.
type role struct {
	fits         func(Ref) bool
	hint, format string // of the error; format has one verb, for the address
}

func isImage(r Ref) bool       { return !r.IsDrive() }
func isFile(r Ref) bool        { return !r.IsDrive() && !r.IsURL() }
func isNewDrive(r Ref) bool    { return r.IsDrive() && r.Drive == "" }
func existingDrive(r Ref) bool { return r.IsDrive() && r.Drive != "" }

var anExistingDrive = role{
	existingDrive, "write ENDPOINT:UUID; `transferctl drives list` shows them", "%s is not an existing drive",
}

// roles has the source's and the target's role for each kind of job.
var roles = map[Kind][2]role{
	Upload: {
		{isImage, "to copy a drive to a drive use clone", "upload takes an image, and %s is a drive"},
		{
			Ref.IsDrive, "write ENDPOINT: for a new drive, or ENDPOINT:UUID",
			"upload needs a drive to write to, and %s is none",
		},
	},
	Download: {
		anExistingDrive,
		{isFile, "write a file's path; to copy a drive to a drive use clone", "download writes a file, and %s is none"},
	},
	Clone: {
		anExistingDrive,
		{
			isNewDrive, "write ENDPOINT: (or nothing, for the drive's own endpoint)",
			"clone makes a new drive, and %s is none",
		},
	},
	Verify: {
		{isImage, "give the image's or the manifest's path", "verify compares with a file, and %s is a drive"},
		anExistingDrive,
	},
	Migrate: {
		{existingDrive, "write ENDPOINT:UUID; `transferctl servers list` shows them", "%s is not an existing server"},
		{isNewDrive, "write ENDPOINT2:", "migrate makes a new server, and %s is not the name of an endpoint"},
	},
}

func (s *Spec) validateEnds() error {
	ends := roles[s.Kind]
	if !s.Kind.Valid() {
		return invalid("use upload, download, clone, verify or migrate", "%q is not a kind of job", s.Kind)
	}
	for i, r := range []Ref{s.Source, s.Target} {
		if !ends[i].fits(r) {
			return invalid(ends[i].hint, ends[i].format, r.Redacted())
		}
	}
	return nil
}

func (s *Spec) validateOverwrite() error {
	if s.KeepTail && !s.Overwrite {
		return invalid("give --overwrite too, or leave --keep-tail out", "--keep-tail is for a target that exists")
	}
	if s.Kind == Upload && s.Target.Drive != "" && !s.Overwrite {
		return &Error{
			Op: "upload", Code: CodeExists,
			Hint: "give --overwrite to replace what the drive holds, or write ENDPOINT: for a new drive",
			Err:  errors.New("drive " + s.Target.Drive + " exists, and may hold data"),
		}
	}
	return nil
}
