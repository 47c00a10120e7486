// SPDX-License-Identifier: Apache-2.0

// Package table is what demonstrations are made of: rows that each check one
// promise, and that can each be broken, so that it is known that they can fail.
//
// A program declares its rows and gives [Options] its command line; [Perform]
// runs and prints them. Its tests call [Try] with the program, which runs every
// row as it should be, and every row broken.
package table
