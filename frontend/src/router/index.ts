import {
  createRouter as createVueRouter,
  createWebHistory,
  type RouteRecordRaw,
  type Router,
  type RouterHistory,
} from 'vue-router'
import ApiPage from '../pages/ApiPage.vue'
import HomePage from '../pages/HomePage.vue'
import NotFoundPage from '../pages/NotFoundPage.vue'
import ProblemPage from '../pages/ProblemPage.vue'
import ProfilePage from '../pages/ProfilePage.vue'
import SessionsPage from '../pages/SessionsPage.vue'
import SignedOutPage from '../pages/SignedOutPage.vue'
import type { MessageKey } from '../i18n/messages'

declare module 'vue-router' {
  interface RouteMeta {
    title: MessageKey
    requiresAuth?: boolean
  }
}

/** `/api/…` belongs to the services behind Genkan, so the page that calls them is `/demo`. */
export const routes: RouteRecordRaw[] = [
  { path: '/', name: 'home', component: HomePage, meta: { title: 'nav.home' } },
  { path: '/profile', name: 'profile', component: ProfilePage, meta: { title: 'nav.profile', requiresAuth: true } },
  {
    path: '/sessions',
    name: 'sessions',
    component: SessionsPage,
    meta: { title: 'sessions.title', requiresAuth: true },
  },
  { path: '/demo', name: 'api', component: ApiPage, meta: { title: 'nav.api', requiresAuth: true } },
  { path: '/signed-out', name: 'signed-out', component: SignedOutPage, meta: { title: 'signedOut.title' } },
  { path: '/problem', name: 'problem', component: ProblemPage, meta: { title: 'problem.title' } },
  { path: '/:path(.*)*', name: 'not-found', component: NotFoundPage, meta: { title: 'notFound.title' } },
]

export function createRouter(history: RouterHistory = createWebHistory(import.meta.env.BASE_URL)): Router {
  return createVueRouter({ history, routes, scrollBehavior: (_to, _from, saved) => saved ?? { top: 0 } })
}
