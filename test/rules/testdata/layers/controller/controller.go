package controller

import (
	"github.com/libnetwork/cnm"
	"github.com/libnetwork/cnm/internal/undo"
	"github.com/libnetwork/cnm/kernel/link" // found
	"github.com/libnetwork/cnm/store/bolt"  // found
	"go.etcd.io/bbolt"                      // found
)
