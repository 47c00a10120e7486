// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"fmt"
	"net"
)

// Notify tells the service manager at a socket that we are ready, so that what is ordered after us starts. Without a socket nobody
// is told.
func Notify(ctx context.Context, socket string) error {
	if socket == "" {
		return nil
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unixgram", socket)
	if err != nil {
		return fmt.Errorf("notify socket: %w", err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("READY=1")); err != nil {
		return fmt.Errorf("notify socket: %w", err)
	}
	return nil
}
