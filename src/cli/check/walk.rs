//! Reads a script without running it: which globals it uses and sets, and what can be seen of its
//! calls, comparisons and tables.

use std::collections::HashSet;

use full_moon::ast::punctuated::Punctuated;
use full_moon::ast::{
    Ast, BinOp, Block, Call, Expression, Field, FunctionArgs, FunctionBody, FunctionCall,
    FunctionDeclaration, If, Index, LastStmt, Parameter, Prefix, Stmt, Suffix, TableConstructor,
    Var, VarExpression,
};
use full_moon::node::Node;
use full_moon::tokenizer::{StringLiteralQuoteType, TokenReference, TokenType};

use crate::script::words::Seen;

/// Where something stands: line and column, from 1, and how long it is, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct At {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) length: usize,
}

/// A word and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) at: At,
}

/// A call of a global, or of a member of one.
#[derive(Debug)]
pub(super) struct Called {
    /// `name`, `table.name`, `table.table.name`.
    pub(super) name: Word,
    pub(super) args: Vec<Seen>,
    /// More arguments may follow than can be seen.
    pub(super) open: bool,
    /// The names of the fields of a table among them.
    pub(super) fields: Vec<Word>,
}

/// What is to be known of a script.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// Globals that are read or called.
    pub(super) reads: Vec<Word>,
    /// Members of globals that are read or called: `table.name`, `table.table.name`.
    pub(super) members: Vec<Word>,
    /// Globals that are set, also as the table of a member.
    pub(super) writes: Vec<Word>,
    /// Members of globals that are set: `table.name`.
    pub(super) set_members: HashSet<String>,
    /// Those of them that are functions.
    pub(super) functions: Vec<Word>,
    pub(super) calls: Vec<Called>,
    /// What a field `kind` is compared with.
    pub(super) kinds: Vec<Word>,
    /// What fields `kind` are set to.
    pub(super) own_kinds: HashSet<String>,
    /// Tables of functions: the names of their fields.
    pub(super) handlers: Vec<Vec<Word>>,
}

/// Reads a script.
pub(super) fn facts(ast: &Ast) -> Facts {
    let mut walk = Walk::default();
    walk.block(ast.nodes());
    walk.facts
}

#[derive(Default)]
struct Walk {
    facts: Facts,
    /// The names of locals, block within block.
    scopes: Vec<HashSet<String>>,
}

impl Walk {
    // ---- names

    fn declare(&mut self, name: &TokenReference) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.insert(text(name));
        }
    }

    fn is_local(&self, name: &str) -> bool {
        self.scopes.iter().any(|scope| scope.contains(name))
    }

    fn scoped(&mut self, work: impl FnOnce(&mut Self)) {
        self.scopes.push(HashSet::new());
        work(self);
        self.scopes.pop();
    }

    fn read(&mut self, name: &TokenReference) {
        if !self.is_local(&text(name)) {
            self.facts.reads.push(word(name));
        }
    }

    fn write(&mut self, name: &TokenReference, function: bool) {
        if !self.is_local(&text(name)) {
            self.facts.writes.push(word(name));
            if function {
                self.facts.functions.push(word(name));
            }
        }
    }

    // ---- statements

    fn block(&mut self, block: &Block) {
        self.scoped(|walk| walk.inside(block));
    }

    fn inside(&mut self, block: &Block) {
        for statement in block.stmts() {
            self.statement(statement);
        }
        if let Some(LastStmt::Return(last)) = block.last_stmt() {
            self.expressions(last.returns());
        }
    }

    fn statement(&mut self, statement: &Stmt) {
        match statement {
            Stmt::Assignment(assignment) => {
                self.expressions(assignment.expressions());
                let values = assignment.expressions().iter().map(Some);
                let values = values.chain(std::iter::repeat(None));
                for (variable, value) in assignment.variables().iter().zip(values) {
                    self.assign(variable, value);
                }
            }
            Stmt::Do(inner) => self.block(inner.block()),
            Stmt::FunctionCall(call) => self.call(call),
            Stmt::FunctionDeclaration(declaration) => self.function(declaration),
            Stmt::GenericFor(each) => {
                self.expressions(each.expressions());
                self.scoped(|walk| {
                    each.names().iter().for_each(|name| walk.declare(name));
                    walk.inside(each.block());
                });
            }
            Stmt::If(choice) => self.choice(choice),
            Stmt::LocalAssignment(local) => {
                self.expressions(local.expressions());
                local.names().iter().for_each(|name| self.declare(name));
            }
            Stmt::LocalFunction(local) => {
                self.declare(local.name());
                self.body(local.body(), false);
            }
            Stmt::NumericFor(count) => {
                self.expression(count.start());
                self.expression(count.end());
                count
                    .step()
                    .into_iter()
                    .for_each(|step| self.expression(step));
                self.scoped(|walk| {
                    walk.declare(count.index_variable());
                    walk.inside(count.block());
                });
            }
            // Its condition sees its locals.
            Stmt::Repeat(repeat) => self.scoped(|walk| {
                walk.inside(repeat.block());
                walk.expression(repeat.until());
            }),
            Stmt::While(repeat) => {
                self.expression(repeat.condition());
                self.block(repeat.block());
            }
            _ => {}
        }
    }

    fn choice(&mut self, choice: &If) {
        self.expression(choice.condition());
        self.block(choice.block());
        for other in choice.else_if().into_iter().flatten() {
            self.expression(other.condition());
            self.block(other.block());
        }
        choice
            .else_block()
            .into_iter()
            .for_each(|last| self.block(last));
    }

    fn assign(&mut self, variable: &Var, value: Option<&Expression>) {
        match variable {
            Var::Name(name) => {
                self.write(name, matches!(value, Some(Expression::Function(_))));
            }
            Var::Expression(path) => {
                if let Some(Suffix::Index(index)) = path.suffixes().last()
                    && key(index).is_some_and(|name| name.text == "kind")
                    && let Some(Expression::String(kind)) = value
                {
                    self.facts
                        .own_kinds
                        .insert(literal(kind).unwrap_or_default());
                }
                let suffixes: Vec<_> = path.suffixes().collect();
                if let (Prefix::Name(root), [Suffix::Index(only)]) = (path.prefix(), &*suffixes)
                    && !self.is_local(&text(root))
                    && let Some(member) = key(only)
                {
                    let member = format!("{}.{}", text(root), member.text);
                    self.facts.set_members.insert(member);
                    self.read(root);
                    return;
                }
                self.path(path);
            }
            _ => {}
        }
    }

    fn function(&mut self, declaration: &FunctionDeclaration) {
        let name = declaration.name();
        let names: Vec<_> = name.names().iter().collect();
        match (names.as_slice(), name.method_name()) {
            ([only], None) => self.write(only, true),
            ([root, member], None) if !self.is_local(&text(root)) => {
                let member = format!("{}.{}", text(root), text(member));
                self.facts.set_members.insert(member);
                self.read(root);
            }
            ([root, ..], _) => self.read(root),
            ([], _) => {}
        }
        self.body(declaration.body(), name.method_name().is_some());
    }

    fn body(&mut self, body: &FunctionBody, method: bool) {
        self.scoped(|walk| {
            if method && let Some(scope) = walk.scopes.last_mut() {
                scope.insert("self".to_owned());
            }
            for parameter in body.parameters() {
                if let Parameter::Name(name) = parameter {
                    walk.declare(name);
                }
            }
            walk.inside(body.block());
        });
    }

    // ---- expressions

    fn expressions(&mut self, expressions: &Punctuated<Expression>) {
        expressions
            .iter()
            .for_each(|expression| self.expression(expression));
    }

    fn expression(&mut self, expression: &Expression) {
        match expression {
            Expression::BinaryOperator { lhs, binop, rhs } => {
                if matches!(binop, BinOp::TwoEqual(_) | BinOp::TildeEqual(_)) {
                    self.comparison(lhs, rhs);
                    self.comparison(rhs, lhs);
                }
                self.expression(lhs);
                self.expression(rhs);
            }
            Expression::Parentheses { expression, .. }
            | Expression::UnaryOperator { expression, .. } => self.expression(expression),
            Expression::Function(function) => self.body(function.body(), false),
            Expression::FunctionCall(call) => self.call(call),
            Expression::TableConstructor(table) => self.table(table),
            Expression::Var(Var::Name(name)) => self.read(name),
            Expression::Var(Var::Expression(path)) => self.path(path),
            _ => {}
        }
    }

    /// Notes with what a field `kind` is compared.
    fn comparison(&mut self, field: &Expression, with: &Expression) {
        if let Expression::Var(Var::Expression(path)) = field
            && let Some(Suffix::Index(last)) = path.suffixes().last()
            && key(last).is_some_and(|name| name.text == "kind")
            && let Expression::String(token) = with
            && let Some(text) = literal(token)
        {
            let at = at(token);
            self.facts.kinds.push(Word { text, at });
        }
    }

    fn table(&mut self, table: &TableConstructor) {
        let (mut names, mut functions) = (Vec::new(), true);
        for field in table.fields() {
            match field {
                Field::ExpressionKey { key, value, .. } => {
                    if let Expression::String(token) = &**key
                        && let Some(text) = literal(token)
                    {
                        let at = at(token);
                        names.push(Word { text, at });
                    }
                    self.expression(key);
                    self.expression(value);
                    functions &= is_callable(value);
                }
                Field::NameKey { key, value, .. } => {
                    if let Expression::String(kind) = &**value
                        && text(key) == "kind"
                    {
                        self.facts
                            .own_kinds
                            .insert(literal(kind).unwrap_or_default());
                    }
                    names.push(word(key));
                    self.expression(value);
                    functions &= is_callable(value);
                }
                Field::NoKey(value) => {
                    self.expression(value);
                    functions = false;
                }
                _ => {}
            }
        }
        if functions && !names.is_empty() {
            self.facts.handlers.push(names);
        }
    }

    fn path(&mut self, path: &VarExpression) {
        let suffixes: Vec<_> = path.suffixes().collect();
        self.chain(path.prefix(), &suffixes);
    }

    fn call(&mut self, call: &FunctionCall) {
        let suffixes: Vec<_> = call.suffixes().collect();
        self.chain(call.prefix(), &suffixes);
    }

    /// A prefix with its indices and calls.
    fn chain(&mut self, prefix: &Prefix, suffixes: &[&Suffix]) {
        match prefix {
            Prefix::Name(root) => {
                self.read(root);
                self.of_global(root, suffixes);
            }
            Prefix::Expression(expression) => self.expression(expression),
            _ => {}
        }
        for suffix in suffixes {
            match suffix {
                Suffix::Index(Index::Brackets { expression, .. }) => self.expression(expression),
                Suffix::Call(Call::AnonymousCall(args)) => self.arguments(args),
                Suffix::Call(Call::MethodCall(call)) => self.arguments(call.args()),
                _ => {}
            }
        }
    }

    /// Notes members and calls of a global.
    fn of_global(&mut self, root: &TokenReference, suffixes: &[&Suffix]) {
        if self.is_local(&text(root)) {
            return;
        }
        let (mut name, mut rest) = (word(root), suffixes);
        while let [Suffix::Index(index), others @ ..] = rest {
            let Some(member) = key(index) else { return };
            name = Word {
                text: format!("{}.{}", name.text, member.text),
                at: member.at,
            };
            self.facts.members.push(name.clone());
            rest = others;
        }
        if let [Suffix::Call(Call::AnonymousCall(args)), ..] = rest {
            let called = called(name, args);
            self.facts.calls.push(called);
        }
    }

    fn arguments(&mut self, args: &FunctionArgs) {
        match args {
            FunctionArgs::Parentheses { arguments, .. } => self.expressions(arguments),
            FunctionArgs::TableConstructor(table) => self.table(table),
            _ => {}
        }
    }
}

fn called(name: Word, args: &FunctionArgs) -> Called {
    let mut called = Called {
        name,
        args: Vec::new(),
        open: false,
        fields: Vec::new(),
    };
    match args {
        FunctionArgs::Parentheses { arguments, .. } => {
            for (left, argument) in (0..arguments.len()).rev().zip(arguments) {
                // The last one may be several values, or none.
                if left == 0 && is_open(argument) {
                    called.open = true;
                    break;
                }
                called.args.push(seen(argument));
                if let Expression::TableConstructor(table) = argument {
                    called.fields.extend(names(table));
                }
            }
        }
        FunctionArgs::String(token) => {
            let text = literal(token).map_or(Seen::Unknown, Seen::Text);
            called.args.push(text);
        }
        FunctionArgs::TableConstructor(table) => {
            called.args.push(Seen::Table);
            called.fields.extend(names(table));
        }
        _ => called.open = true,
    }
    called
}

/// The names of the fields of a table.
fn names(table: &TableConstructor) -> impl Iterator<Item = Word> {
    table.fields().iter().filter_map(|field| match field {
        Field::NameKey { key, .. } => Some(word(key)),
        _ => None,
    })
}

fn is_open(expression: &Expression) -> bool {
    match expression {
        Expression::FunctionCall(_) => true,
        Expression::Symbol(symbol) => text(symbol) == "...",
        _ => false,
    }
}

fn is_callable(expression: &Expression) -> bool {
    matches!(expression, Expression::Function(_) | Expression::Var(_))
}

/// What can be seen of a value.
fn seen(expression: &Expression) -> Seen {
    match expression {
        Expression::Symbol(symbol) => match text(symbol).as_str() {
            "nil" => Seen::Nil,
            "true" | "false" => Seen::Boolean,
            _ => Seen::Unknown,
        },
        Expression::Number(number) => text(number).parse().map_or(Seen::Unknown, Seen::Number),
        Expression::UnaryOperator { unop, expression } if text(unop.token()) == "-" => {
            match seen(expression) {
                Seen::Number(number) => Seen::Number(-number),
                _ => Seen::Unknown,
            }
        }
        Expression::String(token) => literal(token).map_or(Seen::Unknown, Seen::Text),
        Expression::TableConstructor(_) => Seen::Table,
        Expression::Function(_) => Seen::Function,
        _ => Seen::Unknown,
    }
}

/// The key of an index, if it is a name or text.
fn key(index: &Index) -> Option<Word> {
    match index {
        Index::Dot { name, .. } => Some(word(name)),
        Index::Brackets { expression, .. } => match &**expression {
            Expression::String(token) => Some(Word {
                text: literal(token)?,
                at: at(token),
            }),
            _ => None,
        },
        _ => None,
    }
}

/// What a literal string says; `None` if it has escapes, which nothing here needs.
fn literal(token: &TokenReference) -> Option<String> {
    match token.token_type() {
        TokenType::StringLiteral {
            literal,
            quote_type,
            ..
        } => {
            let plain = *quote_type == StringLiteralQuoteType::Brackets || !literal.contains('\\');
            plain.then(|| literal.to_string())
        }
        _ => None,
    }
}

fn word(token: &TokenReference) -> Word {
    Word {
        text: text(token),
        at: at(token),
    }
}

fn text(token: &TokenReference) -> String {
    token.token().to_string()
}

fn at(token: &TokenReference) -> At {
    let start = token.token().start_position();
    let length = match token.end_position() {
        Some(end) if end.line() == start.line() => end.bytes().saturating_sub(start.bytes()),
        _ => 1,
    };
    At {
        line: start.line(),
        column: start.character(),
        length: length.max(1),
    }
}
