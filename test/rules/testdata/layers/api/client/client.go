package client

import "github.com/libnetwork/cnm/api/server" // found
