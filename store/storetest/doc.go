// SPDX-License-Identifier: Apache-2.0

// Package storetest is the suite that every [cnm.Store] passes, so that whoever composes a program may choose any of them.
package storetest
