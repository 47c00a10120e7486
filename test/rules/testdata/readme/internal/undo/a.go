package undo
