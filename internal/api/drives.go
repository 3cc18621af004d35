package api

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/transferd/transferd/internal/transfer"
)

// DriveInfo is a drive as the endpoint describes it.
type DriveInfo struct {
	UUID    string
	Name    string
	Size    int64  // bytes
	Status  string // active, inactive, copying, imaging
	Imaging string // progress of the endpoint while it makes the drive; empty when it is complete
	Claimed []string
	Tags    []string
	Readers []string
	Keys    Object // the complete response
}

func newDriveInfo(o Object) (DriveInfo, error) {
	size, err := strconv.ParseInt(o["size"], 10, 64)
	id := strings.ToLower(o["drive"])
	if err != nil || size < 0 || !ValidUUID(id) {
		return DriveInfo{}, transfer.Errorf(transfer.CodeProtocol, hintNotAPI, "the response describes no drive")
	}
	d := DriveInfo{
		UUID: id, Name: o["name"], Size: size, Status: o["status"], Imaging: o["imaging"],
		Claimed: o.words("claimed"), Tags: o.words("tags"), Readers: o.words("readers"), Keys: o,
	}
	if d.Imaging == "false" {
		d.Imaging = ""
	}
	return d, nil
}

// Ready reports whether the endpoint has finished making the drive. Endpoints show that by `status
// active`, or by the end of `imaging` or `claimed`, in any order. An inactive drive is an error:
// the endpoint could not make it.
func (d *DriveInfo) Ready() (bool, error) {
	if d.Status == "inactive" {
		return false, transfer.Errorf(transfer.CodeRefused,
			"the endpoint could not complete it; destroy it and try again", "drive %s is inactive", d.UUID)
	}
	claimed := slices.ContainsFunc(d.Claimed, func(c string) bool { return strings.Contains(c, "imaging") })
	return (d.Status == "active" || d.Status == "") && d.Imaging == "" && !claimed, nil
}

// Servers returns the UUIDs of the running servers that hold the drive.
func (d *DriveInfo) Servers() []string { return serversOf(d.Claimed) }

func serversOf(claimed []string) (uuids []string) {
	for _, claim := range claimed {
		if server := ParseClaim(claim).Server; server != "" && !slices.Contains(uuids, server) {
			uuids = append(uuids, server)
		}
	}
	return uuids
}

// Writable reports whether servers that hold the drive may write to it. They may not write to a CD,
// nor to a drive of the library.
func (d *DriveInfo) Writable() bool {
	return d.Keys["type"] != "cdrom" && d.Keys["user"] != libraryUser
}

// libraryUser is the owner of the endpoint's library.
const libraryUser = "00000000-0000-0000-0000-000000000001"

// Writers returns those of Servers that may write to the drive.
func (d *DriveInfo) Writers() []string {
	if !d.Writable() {
		return nil
	}
	return d.Servers()
}

// CreateOptions describe a new drive. Name and Size are required.
type CreateOptions struct {
	Name    string
	Size    int64 // bytes
	Tags    []string
	Readers []string // UUIDs
}

// CloneOptions describe the copy of a drive. Without a Size it is as large as its source. Tags are
// not copied.
type CloneOptions CreateOptions

func (o CreateOptions) object() Object {
	keys := Object{"name": o.Name}
	if o.Size > 0 {
		keys["size"] = strconv.FormatInt(o.Size, 10)
	}
	if len(o.Tags) > 0 {
		keys["tags"] = strings.Join(o.Tags, " ")
	}
	if len(o.Readers) > 0 {
		keys["readers"] = strings.Join(o.Readers, " ")
	}
	return keys
}

// ListDrives is the UUIDs of the account's drives: GET /drives/list (manual 2).
func (c *Client) ListDrives(ctx context.Context) ([]string, error) {
	return c.ids(ctx, driveKind.list(), firstWords)
}

// Drives describes all drives of the account: GET /drives/info (manual 7.7).
func (c *Client) Drives(ctx context.Context) ([]DriveInfo, error) {
	return many(ctx, c, driveKind.infoAll(), newDriveInfo)
}

// Drive describes a drive of the account, of the library, or one that the account may read: GET
// /drives/UUID/info (manual 7.6). If uuid is no UUID, as in a job's record that someone has
// changed, Drive makes no call and returns CodeInvalid. So do all calls for one object.
func (c *Client) Drive(ctx context.Context, uuid string) (DriveInfo, error) {
	return one(ctx, c, driveKind.info(uuid), newDriveInfo)
}

// CreateDrive makes a drive of zeros: POST /drives/create (manual 7.1). It is not idempotent; a job
// finds the drive that an earlier call made by its tags.
func (c *Client) CreateDrive(ctx context.Context, o CreateOptions) (DriveInfo, error) {
	d, err := one(ctx, c, driveKind.post("create drive", "drives/create", o.object()), newDriveInfo)
	if err == nil && d.Size < o.Size {
		err = transfer.Errorf(transfer.CodeProtocol, "", "drive %s has %s, not %d",
			d.UUID, transfer.Count(d.Size, "byte"), o.Size)
	}
	return d, err
}

// CloneDrive makes the endpoint copy a drive: POST /drives/UUID/clone (manual 7.4). It does not
// wait; the new drive is usable when it is Ready. It is not idempotent, like CreateDrive.
func (c *Client) CloneDrive(ctx context.Context, uuid string, o CloneOptions) (DriveInfo, error) {
	return one(ctx, c, driveKind.on("clone", uuid, "clone", CreateOptions(o).object()), newDriveInfo)
}

// SetDrive changes the given keys and no others: POST /drives/UUID/set (not in the manual; real
// clients use it). It returns the drive after that.
func (c *Client) SetDrive(ctx context.Context, uuid string, keys Object) (DriveInfo, error) {
	return changed(ctx, c, driveKind.on("change", uuid, "set", keys), driveKind.info(uuid), newDriveInfo)
}

// DestroyDrive destroys a drive and its data: POST /drives/UUID/destroy (manual 7.5).
func (c *Client) DestroyDrive(ctx context.Context, uuid string) error {
	return c.act(ctx, driveKind.on("destroy", uuid, "destroy", nil))
}
