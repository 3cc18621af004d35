package api

import (
	"context"
	"net/http"
)

// StandardDrives describes the endpoint's library, images and CDs.
func (c *Client) StandardDrives(ctx context.Context) ([]DriveInfo, error) {
	return c.manyDrives(ctx, "read info of the library", http.MethodGet, "drives/standard/info", nil)
}

// ListStandard is the UUIDs of the library (manual 7.10).
func (c *Client) ListStandard(ctx context.Context) ([]string, error) {
	return c.list(ctx, "drives/standard/list")
}

// ListStandardCDs is the UUIDs of the library's CDs (manual 7.8).
func (c *Client) ListStandardCDs(ctx context.Context) ([]string, error) {
	return c.list(ctx, "drives/standard/cd/list")
}

// ListStandardImages is the UUIDs of the library's images (manual 7.9).
func (c *Client) ListStandardImages(ctx context.Context) ([]string, error) {
	return c.list(ctx, "drives/standard/img/list")
}
