// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"context"

	"golang.org/x/sys/unix"
)

// Chains gives the chains of all tables of the network namespace, those of others too, without their rules.
func (c *Conn) Chains(ctx context.Context) ([]Chain, error) {
	return settled(ctx, c, func() ([]Chain, error) {
		var chains []Chain
		err := c.dump(unix.NFT_MSG_GETCHAIN, unix.NFPROTO_UNSPEC, nil, func(m *message) error {
			chain, err := decodeChain(m)
			if err == nil {
				chains = append(chains, chain.Chain)
			}
			return err
		})
		return chains, err
	})
}
