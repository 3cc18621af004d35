package endpoints

import (
	"github.com/transferd/transferd/internal/api"
	"github.com/transferd/transferd/internal/transfer"
)

// Schemes is the forms of address that users can type.
var Schemes = transfer.Schemes{transfer.Stdio, transfer.URLs, api.Drives, transfer.Files}
