// Package cnm is it. Controller.Missing is not looked at here.
//
//	controller.Attach      claims
//	controller.Wander      does not exist // found
//	  Allocator.Allocate   one address
//	  Allocator.Borrow     does not exist // found
package cnm

type Allocator interface{ Allocate() }
