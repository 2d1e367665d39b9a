//! The dashboard over HTTP.

mod access;
mod pages;
mod site;
