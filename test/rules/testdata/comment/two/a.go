// Package two has two.
package two
