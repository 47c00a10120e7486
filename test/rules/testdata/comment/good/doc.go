// Package good has one.
package good
