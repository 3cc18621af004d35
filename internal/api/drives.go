package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
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
	if err != nil || size < 0 || !ValidUUID(strings.ToLower(o["drive"])) {
		return DriveInfo{}, transfer.Errorf(transfer.CodeProtocol, hintNotAPI, "the response describes no drive")
	}
	d := DriveInfo{
		UUID: o["drive"], Name: o["name"], Size: size, Status: o["status"], Imaging: o["imaging"],
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

// CreateDrive makes a drive of zeros (manual 7.1).
func (c *Client) CreateDrive(ctx context.Context, o CreateOptions) (DriveInfo, error) {
	d, err := c.postDrive(ctx, "create drive", "drives/create", o.object())
	if err == nil && d.Size < o.Size {
		err = transfer.Errorf(transfer.CodeProtocol, "", "drive %s has %s, not %d", d.UUID, transfer.Count(d.Size, "byte"), o.Size)
	}
	return d, err
}

// CloneDrive makes the endpoint copy a drive (manual 7.4). It does not wait; the new drive is usable
// when it is Ready.
func (c *Client) CloneDrive(ctx context.Context, uuid string, o CloneOptions) (DriveInfo, error) {
	return c.postDrive(ctx, "clone drive "+uuid, drivePath(uuid, "clone"), CreateOptions(o).object())
}

// SetDrive changes the given keys and no others (real clients use it, the manual does not have it).
func (c *Client) SetDrive(ctx context.Context, uuid string, keys Object) (DriveInfo, error) {
	return c.postDrive(ctx, "change drive "+uuid, drivePath(uuid, "set"), keys)
}

func (c *Client) postDrive(ctx context.Context, op, path string, keys Object) (DriveInfo, error) {
	input, err := Encode(keys)
	if err != nil {
		return DriveInfo{}, err
	}
	return c.oneDrive(ctx, op, http.MethodPost, path, input)
}

// Drive describes a drive (manual 7.6). If uuid is no UUID, as in a job's record that someone has
// changed, Drive makes no call and returns CodeInvalid.
func (c *Client) Drive(ctx context.Context, uuid string) (DriveInfo, error) {
	if !ValidUUID(uuid) {
		return DriveInfo{}, notUUID(uuid)
	}
	return c.oneDrive(ctx, "read info of drive "+uuid, http.MethodGet, drivePath(uuid, "info"), nil)
}

func (c *Client) oneDrive(ctx context.Context, op, method, path string, input []byte) (DriveInfo, error) {
	drives, err := c.manyDrives(ctx, op, method, path, input)
	if err == nil && len(drives) != 1 {
		err = &transfer.Error{
			Op: op, Code: transfer.CodeProtocol, Hint: hintNotAPI,
			Err: fmt.Errorf("the response describes %s", transfer.Count(len(drives), "drive")),
		}
	}
	if err != nil {
		return DriveInfo{}, err
	}
	return drives[0], nil
}

func (c *Client) manyDrives(ctx context.Context, op, method, path string, input []byte) ([]DriveInfo, error) {
	text, err := c.text(ctx, op, method, path, input)
	if err != nil {
		return nil, err
	}
	objects := Decode(text)
	drives := make([]DriveInfo, len(objects))
	for i, o := range objects {
		if drives[i], err = newDriveInfo(o); err != nil {
			return nil, fmt.Errorf("%s: %w", op, err)
		}
	}
	return drives, nil
}

// Drives describes all drives of the account (manual 7.7).
func (c *Client) Drives(ctx context.Context) ([]DriveInfo, error) {
	return c.manyDrives(ctx, "read info of all drives", http.MethodGet, "drives/info", nil)
}

// ListDrives is the UUIDs of the account's drives.
func (c *Client) ListDrives(ctx context.Context) ([]string, error) { return c.list(ctx, "drives/list") }

// DestroyDrive destroys a drive and its data (manual 7.5).
func (c *Client) DestroyDrive(ctx context.Context, uuid string) error {
	return c.do(ctx, &request{op: "destroy drive " + uuid, method: http.MethodPost, path: drivePath(uuid, "destroy")})
}

func (c *Client) list(ctx context.Context, path string) ([]string, error) {
	text, err := c.text(ctx, "list "+path, http.MethodGet, path, nil)
	return decodeList(text), err
}

func drivePath(uuid string, rest ...string) string {
	return "drives/" + url.PathEscape(uuid) + "/" + strings.Join(rest, "/")
}
