//! The dashboard over HTTP.

mod access;
mod acts;
mod pages;
mod site;
