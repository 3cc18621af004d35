package api

import "context"

// The drives of the endpoint's library: disk images to clone, and CDs to attach to servers. All
// accounts may read them.

// ListStandard is the UUIDs of the library: GET /drives/standard/list (manual 7.10).
func (c *Client) ListStandard(ctx context.Context) ([]string, error) {
	return c.ids(ctx, library("list the library", "list"), firstWords)
}

// ListStandardCDs is the UUIDs of the library's CDs: GET /drives/standard/cd/list (manual 7.8).
func (c *Client) ListStandardCDs(ctx context.Context) ([]string, error) {
	return c.ids(ctx, library("list the library's CDs", "cd/list"), firstWords)
}

// ListStandardImages is the UUIDs of the library's disk images: GET /drives/standard/img/list
// (manual 7.9).
func (c *Client) ListStandardImages(ctx context.Context) ([]string, error) {
	return c.ids(ctx, library("list the library's images", "img/list"), firstWords)
}

// StandardDrives describes the library: GET /drives/standard/info (not in the manual; libcloud uses
// it).
func (c *Client) StandardDrives(ctx context.Context) ([]DriveInfo, error) {
	return many(ctx, c, library("read info of the library", "info"), newDriveInfo)
}

// StandardCDs describes the library's CDs: GET /drives/standard/cd/info (not in the manual).
func (c *Client) StandardCDs(ctx context.Context) ([]DriveInfo, error) {
	return many(ctx, c, library("read info of the library's CDs", "cd/info"), newDriveInfo)
}

// StandardImages describes the library's disk images: GET /drives/standard/img/info (not in the
// manual; dasein uses it).
func (c *Client) StandardImages(ctx context.Context) ([]DriveInfo, error) {
	return many(ctx, c, library("read info of the library's images", "img/info"), newDriveInfo)
}

// StandardCD describes a CD of the library: GET /drives/standard/cd/UUID/info (not in the manual).
func (c *Client) StandardCD(ctx context.Context, uuid string) (DriveInfo, error) {
	return one(ctx, c, standardKind("CD", "cd").info(uuid), newDriveInfo)
}

// StandardImage describes a disk image of the library: GET /drives/standard/img/UUID/info (not in
// the manual; dasein uses it).
func (c *Client) StandardImage(ctx context.Context, uuid string) (DriveInfo, error) {
	return one(ctx, c, standardKind("image", "img").info(uuid), newDriveInfo)
}

// library is a read of the library.
func library(op, path string) command { return driveKind.read(op, "drives/standard/"+path) }

func standardKind(name, folder string) *kind {
	return &kind{
		name: name, path: "drives/standard/" + folder, valid: ValidUUID,
		missing: "transferctl drives standard shows the library",
	}
}
