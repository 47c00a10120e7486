// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"context"
	"errors"
	"fmt"

	cnm "github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/kernel/nft"
)

// ConflictError says that two owners want different things of one element, such as one host port for two endpoints.
// Nothing was sent. errors.Is finds it as [cnm.Exists].
type ConflictError struct {
	// Owner is whose rules were refused, Holder who has the element.
	Owner, Holder Owner
	// Element is what both want: "element inet cnm pub4any tcp . 8080".
	Element string
}

// Error names both owners and the element.
func (e *ConflictError) Error() string {
	return fmt.Sprintf("%s of %s is taken by %s; choose another, or remove that one first", e.Element, e.Owner, e.Holder)
}

// Is tells whether target is the kind of the error.
func (e *ConflictError) Is(target error) bool { return target == cnm.Exists }

// Errors that this package tells apart.
var (
	errClosed  = errors.New("the firewall is closed")
	errPartial = errors.New("only a part of the change was made")
)

// kindly gives an error of the kernel the kind that callers act on.
func kindly(err error) error {
	var kind cnm.Kind
	switch conflict := (*ConflictError)(nil); {
	case err == nil:
		return nil
	case errors.As(err, &conflict), errors.As(err, new(*cnm.Error)):
		return err
	case errors.Is(err, nft.ErrOwned):
		kind = cnm.Busy
	case errors.Is(err, nft.ErrNotPermitted):
		kind = cnm.NotPermitted
	case errors.Is(err, nft.ErrTooLarge):
		kind = cnm.Exhausted
	case errors.Is(err, errClosed), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		kind = cnm.Unavailable
	default:
		kind = cnm.Internal
	}
	return cnm.Errorf(kind, "firewall: %w", err)
}
