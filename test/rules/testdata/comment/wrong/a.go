// This is about something. // found
package wrong
