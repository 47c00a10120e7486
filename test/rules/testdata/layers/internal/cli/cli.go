package cli

import (
	"github.com/libnetwork/cnm/api/client"
	"github.com/libnetwork/cnm/controller" // found
	"github.com/spf13/cobra"
)
